"""How fast the crash lab is, beside the floor: python3 -m grader.crash.bench"""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from .. import stage
from ..checks.wal_format import FOUR, encode
from ..course import find
from ..run import Script
from ..sandbox import Sandbox
from . import anchors, lab
from .explore import Server
from .log import SUBJECT
from .ops import OpsFile, only_a_disk

LOG = "test.wal"
PROMISES = 800  # each of them makes every disk another state
FLOOR = 20_000
NAMES = 23  # none of them synced: each half of the disks has one
MEMORY = 256  # MiB, the goal at any number of states
VERIFIED = 10_000


def many_states() -> OpsFile:
    """Four records that nobody synced, then promises."""
    lines, offset, at = ["crashlab-ops 1", "dir 1", "file 2 x", f"entry 1 {LOG} 2"], 0, 0
    for record in FOUR:
        at, data = at + 1, encode(*record)
        lines.append(f"op {at} {at} write 2 {offset} x{data.hex()}")
        offset += len(data)
    lines += [f"op {at + i} {at + i} ack {i}" for i in range(1, PROMISES + 1)]
    return OpsFile("".join(f"{line}\n" for line in [*lines, "end"]), {}, ())


def peak_memory() -> tuple[str, int]:
    """What a search of millions of states says at its end, and its resident MiB."""
    lines = ["crashlab-ops 1", "dir 1"]
    lines += [f"op {i} {i} create 1 n{i} {i + 1} file" for i in range(1, NAMES + 1)]
    words = [lab.program(), "count", "-", "--cap", str(1 << NAMES)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdin.write("".join(f"{line}\n" for line in [*lines, "end"]).encode())
        process.stdin.close()
        said = process.stdout.read().decode().strip()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    return said, used.ru_maxrss >> 10


def recover_once() -> Script:
    script = Script()
    script.call("wal_recover", LOG)
    return script


def recover_and_go_on() -> Script:
    """The script of the lesson's check, for a log that stands elsewhere."""
    script = Script()
    script.lines = [line.replace("deep/", "") for line in SUBJECT.script.lines]
    return script


def measure(home, cpu: int, servers: dict) -> tuple[float, float, float, int]:
    """States a second of one worker pinned to `cpu`: recovering once, the whole check
    of the lesson, and the floor; and how many states there were."""
    server, pin = servers[cpu], ["taskset", "-c", str(cpu)]
    rates = []
    for script in (recover_once(), recover_and_go_on()):
        found = server.explore([many_states()], script, "posix", lambda *_: None, outside=pin)
        rates.append(found.jobs[0].states / found.seconds)
    done = server.sandbox.run(
        [f"{server.sandbox.inside}/crash/floor", str(FLOOR)], cwd="crash", seconds=60, outside=pin
    )
    return rates[0], rates[1], float(done.stdout), found.jobs[0].states


def signed_states(promises: int) -> OpsFile:
    """A log of anchors with the right head, all of it durable, then promises."""
    log = anchors.complete(len(anchors.RECORDS), head=len(anchors.RECORDS) - 1)
    *lines, end = only_a_disk(log, [anchors.FOLDER]).text.splitlines()
    lines += [f"op {i} {i} ack {i}" for i in range(1, promises + 1)]
    return OpsFile("".join(f"{line}\n" for line in [*lines, end]), {}, ())


def verifying(home, cpu: int) -> str:
    """How many cosignatures a loop verifies a second, and how many recoveries do: each
    of them has a log of three to verify."""
    pin, once = ["taskset", "-c", str(cpu)], Script()
    once.call(*anchors.RECOVER)
    (home / "anchors").mkdir(mode=0o711)
    server = Server(find("w18-l05"), Sandbox(home / "anchors"), stage.stage_reference)
    floor = lab.build(lab.ROOT / "build" / "verify", [lab.SOURCES / "verify.c"], libraries=["-lcrypto"])
    least = float(subprocess.run([*pin, floor, str(VERIFIED)], stdout=subprocess.PIPE, check=True).stdout)
    lines = [f"floor: verify a signature           {least:8.0f} a second"]
    for name, script in (("anchor_recover()     ", once), ("the check of w18-l05 ", anchors.SUBJECT.script)):
        found = server.explore([signed_states(PROMISES)], script, "posix", lambda *_: None, outside=pin)
        recoveries = found.jobs[0].states * sum("anchor_recover" in line for line in script.lines)
        rate = recoveries * len(anchors.RECORDS) / found.seconds
        lines.append(f"verified by {name}   {rate:8.0f} a second, {rate / least:.2f} of that floor")
    return "\n".join(lines)


def main() -> int:
    cpus = sorted(os.sched_getaffinity(0))
    floor = lab.build(lab.ROOT / "build" / "floor", [lab.SOURCES / "floor.c"], ["-static"])
    home, servers = stage.workspace(), {}
    try:
        for cpu in cpus:
            (home / str(cpu)).mkdir(mode=0o711)
            servers[cpu] = Server(find("w10-l03"), Sandbox(home / str(cpu)), stage.stage_reference)
            (servers[cpu].sandbox.tree / "crash" / "floor").write_bytes(floor.read_bytes())
            (servers[cpu].sandbox.tree / "crash" / "floor").chmod(0o755)
        once, whole, least, states = measure(home, cpus[0], servers)
        print(f"{states} states of a log of four records, one worker on one core")
        print(f"floor: fork, rewrite, check, wait   {least:8.0f} a second")
        print(f"recover once                        {once:8.0f} a second, {once / least:.2f} of the floor")
        print(f"the check of w10-l03                {whole:8.0f} a second, {whole / least:.2f}")
        with ThreadPoolExecutor(len(cpus)) as pool:
            all_rates = list(pool.map(lambda cpu: measure(home, cpu, servers), cpus))
        print(f"recover once, {len(cpus)} workers             {sum(r[0] for r in all_rates):8.0f} a second")
        print(verifying(home, cpus[0]))
    finally:
        stage.remove(home)
    said, peak = peak_memory()
    print(f"{said}: {peak} MiB at most, the goal is {MEMORY}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
