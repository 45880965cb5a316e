"""What this machine has, what it lacks, and the one command that mends it."""

import shutil
import subprocess
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

MODULES = {"pytest": "pytest", "xdist": "pytest-xdist", "yaml": "PyYAML",
           "markdown_it": "markdown-it-py", "jsonschema": "jsonschema"}
NEEDED = {
    "gcc": "compiles the lessons",
    "strace": "shows the system calls that a promise rests on",
    "addr2line": "names the line of a finding",
    "git": "plants the bugs that a test has to catch",
    "prlimit": "limits what a program may use",
    "taskset": "makes tracing fast",
}
PIP = "python3 -m pip install " + " ".join(MODULES.values())


@dataclass(frozen=True)
class Trouble:
    what: str
    mend: str


def missing_modules() -> list[str]:
    return [name for name in MODULES if find_spec(name) is None]


def troubles() -> list[Trouble]:
    """What grading cannot do without and this machine has not."""
    found = [
        Trouble(f"the Python module {name} is missing", f"make setup (or: {PIP})")
        for name in missing_modules()
    ]
    found += [
        Trouble(f"{name} is not installed; it {why}", "make setup")
        for name, why in NEEDED.items() if shutil.which(name) is None
    ]
    if not found and not _has_openssl():
        found.append(Trouble("libcrypto's headers are missing; weeks 13 and 18 use them", "make setup"))
    if not shutil.which("strace") is None and not _can_trace():
        found.append(Trouble(
            "strace may not trace here",
            "in a container: docker run --cap-add=SYS_PTRACE; else: sysctl kernel.yama.ptrace_scope=1",
        ))
    return found


def _has_openssl() -> bool:
    done = subprocess.run(
        ["gcc", "-E", "-x", "c", "-"], input=b"#include <openssl/evp.h>\n",
        capture_output=True, check=False,
    )
    return done.returncode == 0


def _can_trace() -> bool:
    done = subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True, check=False)
    return done.returncode == 0


def _userns_hint() -> str:
    """Why bubblewrap cannot make a namespace, as far as the system says."""
    apparmor = Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
    if apparmor.is_file() and apparmor.read_text().strip() == "1":
        return "sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0"
    debian = Path("/proc/sys/kernel/unprivileged_userns_clone")
    if debian.is_file() and debian.read_text().strip() == "0":
        return "sudo sysctl kernel.unprivileged_userns_clone=1"
    return "in a container: docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined"


def report() -> tuple[str, bool]:
    """The doctor's page, and whether lessons can be graded."""
    lines = []
    found = troubles()
    for name in NEEDED:
        path = shutil.which(name)
        lines.append(f"  {'ok' if path else 'MISSING':9}{name:12}{path or NEEDED[name]}")
    for name in MODULES:
        lines.append(f"  {'MISSING' if find_spec(name) is None else 'ok':9}Python's {name}")
    from . import sandbox

    level = sandbox.level()
    lines.append(f"  {'ok' if level.name == 'namespaces' else 'WEAK':9}sandbox level: {level.name}")
    if level.reason:
        mend = "make setup" if shutil.which("bwrap") is None else _userns_hint()
        lines += [f"           {level.reason}", f"           to mend it: {mend}"]
    lines.append("")
    if found:
        lines += [f"{trouble.what}\n    to mend it: {trouble.mend}" for trouble in found]
    else:
        lines.append("This machine can grade every lesson.")
    return "\n".join(lines), not found
