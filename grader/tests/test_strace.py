"""The grammar of strace logs: real logs, generated calls, and rubbish."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grader.trace.strace import (ExecSuperseded, Exit, Frame, Killed, Signal,
                                 Syscall, TraceSyntaxError, parse)
from grader.trace.values import (AT_FDCWD, Array, Change, Data, Fd, Flags,
                                 Named, Nested, Noted, Struct, Unknown)

LOGS = Path(__file__).parent / "data"


def one(line):
    event, = parse([line])
    return event


# Each line is one that strace 6.1 wrote, but for the shortened addresses.
VALUES = {
    'close(3</tree/log>) = 0': (Fd(3, "/tree/log"),),
    r'close(3<\x2f\x77>(deleted)) = 0': (Fd(3, "/w", True),),
    r'close(3</tree/a\74b>) = 0': (Fd(3, "/tree/a<b"),),
    'chdir("/tmp") = 0': (Data(b"/tmp"),),
    r'chdir("\x2f\x74") = 0': (Data(b"/t"),),
    r'write(1, "\1\2a\"\\\n\377"..., 7) = 7':
        (1, Data(b'\1\2a"\\\n\xff', True), 7),
    'open("a", O_RDONLY|0x40000000) = -1 ENOENT (No such file or directory)':
        (Data(b"a"), Flags(("O_RDONLY",), 0x40000000)),
    'mknodat(AT_FDCWD</tmp>, "n", S_IFCHR|0600, makedev(0x8, 0x1)) = 0':
        (Fd(AT_FDCWD, "/tmp"), Data(b"n"), Flags(("S_IFCHR",), 0o600),
         Nested("makedev", (8, 1))),
    'execve("/bin/true", ["true"], 0x7ffc /* 36 vars */) = 0':
        (Data(b"/bin/true"), Array((Data(b"true"),)),
         Noted(0x7ffc, "36 vars")),
    'clone(child_stack=NULL, flags=CLONE_VM|SIGCHLD) = 9':
        (Named("child_stack", None),
         Named("flags", Flags(("CLONE_VM", "SIGCHLD")))),
    'clone3({flags=CLONE_VM, stack=0x7f00} => {parent_tid=[3 /* 9 in '
    "strace's PID NS */]}, 88) = 3 /* 9 in strace's PID NS */":
        (Change(Struct((("flags", Flags(("CLONE_VM",))), ("stack", 0x7f00))),
                Struct((("parent_tid", Array((
                    Noted(3, "9 in strace's PID NS"),))),))), 88),
    'fstat(6, {st_mode=S_IFREG|0644, ...}) = 0':
        (6, Struct((("st_mode", Flags(("S_IFREG",), 0o644)),
                    (None, Unknown("..."))))),
    'rt_sigprocmask(SIG_UNBLOCK, [RTMIN RT_1], ~[], 8) = 0':
        (Flags(("SIG_UNBLOCK",)),
         Array((Flags(("RTMIN",)), Flags(("RT_1",)))), Array((), True), 8),
    'prlimit64(0, RLIMIT_STACK, NULL, {rlim_cur=8192*1024}) = 0':
        (0, Flags(("RLIMIT_STACK",)), None,
         Struct((("rlim_cur", 8192 * 1024),))),
    'restart_syscall(<... resuming interrupted poll ...>) = 0':
        (Unknown("<... resuming interrupted poll ...>"),),
    'pwritev(4, [{iov_base="ab", iov_len=2}], 1, -1) = 2':
        (4, Array((Struct((("iov_base", Data(b"ab")), ("iov_len", 2))),)),
         1, -1),
    'ioctl(4, BTRFS_IOC_CLONE or FICLONE, 3) = -1 EXDEV (Invalid)':
        (4, Flags(("BTRFS_IOC_CLONE", "FICLONE")), 3),
    'wait4(-1, [{WIFEXITED(s) && WEXITSTATUS(s) == 0}], 0, NULL) = 9':
        (-1, Array((Struct(((None, Unknown(
            "WIFEXITED(s) && WEXITSTATUS(s) == 0")),)),)), 0, None),
    'ioctl(1, TCGETS, {B38400 opost -isig icanon echo ...}) = 0':
        (1, Flags(("TCGETS",)),
         Struct(tuple((None, Flags((w,))) for w in
                      ("B38400", "opost", "-isig", "icanon", "echo"))
                + ((None, Unknown("...")),))),
    'mmap(NULL, 9, PROT_READ, MAP_SHARED|21<<MAP_HUGE_SHIFT, 3, 0) = 0x7f00':
        (None, 9, Flags(("PROT_READ",)),
         Flags(("MAP_SHARED", "21<<MAP_HUGE_SHIFT")), 3, 0),
}


@pytest.mark.parametrize("line", VALUES)
def test_values(line):
    assert one(line).args == VALUES[line]


RESULTS = {
    "fsync(3)                     = 0": (0, None, False),
    "fsync(3) = -1 EIO (Input/output error)": (-1, "EIO", False),
    "fsync(3) = -1 EIO (Input/output error) (INJECTED)": (-1, "EIO", True),
    "fsync(3) = 0 (INJECTED)": (0, None, True),
    "fsync(3) = 0 (DELAYED)": (0, None, False),
    "exit_group(0) = ?": (None, None, False),
    "read(3, 0x7f, 1) = ? ERESTARTSYS (To be restarted if SA_RESTART is set)":
        (None, "ERESTARTSYS", False),
    "fcntl(6, F_GETFL) = 0x9002 (flags O_RDWR|O_DSYNC|O_LARGEFILE)":
        (0x9002, None, False),
    "mmap(NULL, 1, 0, 0, -1, 0) = 0x7f44934a3000":
        (0x7f44934a3000, None, False),
    "???? () = ?": (None, None, False),
}


@pytest.mark.parametrize("line", RESULTS)
def test_results(line):
    call = one(line)
    assert (call.ret, call.errno, call.injected) == RESULTS[line]


def test_a_returned_descriptor_has_its_path():
    call = one('openat(AT_FDCWD</w>, ".", O_TMPFILE) = 8</w/#1>(deleted)')
    assert call.ret_fd_path == Fd(8, "/w/#1", True)


def test_the_other_lines():
    events = parse([
        "5 --- SIGCHLD {si_signo=SIGCHLD, si_pid=5 /* 9 in strace's PID NS "
        "*/, si_uid=0} ---",
        "5 --- stopped by SIGSTOP ---",
        "5 +++ killed by SIGKILL (core dumped) +++",
        "6 +++ exited with 3 +++"])
    assert [type(e) for e in events] == [Signal, Signal, Killed, Exit]
    assert events[1].info is None and events[2].core_dumped
    assert events[3].status == 3


def test_halves_are_joined_across_threads():
    """Also an output argument that stands only in the second half."""
    events = parse(['1 read(3,  <unfinished ...>', '2 fsync(4 <unfinished ...>',
                    '1 <... read resumed>"ab", 9) = 2',
                    '2 <... fsync resumed>)   = 0'])
    assert [(e.name, e.entered, e.exited, e.ret) for e in events] == [
        ("read", 1, 3, 2), ("fsync", 2, 4, 0)]
    assert events[0].args == (3, Data(b"ab"), 9)


@pytest.mark.parametrize("lines", [
    ['1 write(3, "ab", 2 <unfinished ...>', "1 +++ killed by SIGKILL +++"],
    ['1 write(3, "ab", 2 <unfinished ...>) = ?', "1 +++ exited with 0 +++"],
    ['1 write(3, "ab", 2 <detached ...>'],
    ['1 write(3, "ab", 2 <unfinished ...>']])
def test_a_call_that_never_returned(lines):
    call = parse(lines)[0]
    assert call.exited is None and call.ret is None
    assert call.args == (3, Data(b"ab"), 2)


def test_exec_in_a_thread_takes_the_leaders_place():
    events = parse(['1 pause( <unfinished ...>',
                    '2 execve("/bin/true", ["true"], 0x7f <unfinished ...>',
                    '1 <... pause resumed>) = ?',
                    '1 +++ superseded by execve in pid 2 +++',
                    '1 <... execve resumed>) = 0'])
    assert isinstance(events[2], ExecSuperseded) and events[2].by == 2
    assert (events[1].name, events[1].pid, events[1].ret) == ("execve", 1, 0)


def test_stacks():
    """-k: return addresses behind the event that they belong to."""
    call, = parse(["1 fsync(3) = 0",
                   " > /lib/libc.so.6(fsync+0x10) [0xf8350]",
                   " > /tree/driver(main+0x287) [0x1591]",
                   " > /usr/bin/bwrap() [0x4f73]",
                   " > /usr/bin/bwrap(+0x0) [0x5481]",
                   " > unexpected_backtracing_error [0x7ffd]"])
    assert call.stack[1:] == (
        Frame("/tree/driver", "main", 0x287, 0x1591),
        Frame("/usr/bin/bwrap", None, None, 0x4f73),
        Frame("/usr/bin/bwrap", None, 0, 0x5481),
        Frame("unexpected_backtracing_error", None, None, 0x7ffd))


def test_text_for_people():
    line = r'write(3<\x2f\x6c>, "\x61\x0a", 2) = 2'
    assert one(line).text == r'write(3</l>, "a\n", 2) = 2'
    long = one(f'write(3, "{"x" * 100}", 100) = 100').text
    assert len(long) < 80 and '"...' in long


@pytest.mark.parametrize("lines, number", [
    (["1 fsync(3) = "], 1), (["1 fsync(3"], 1), (["hello"], 1), ([""], 1),
    (["1 fsync(3) = 0", " > garbage"], 2),
    (["1 <... fsync resumed>) = 0"], 1),
    (["1 read(3 <unfinished ...>", "1 <... fsync resumed>) = 0"], 2),
    (["1 fsync(3) = 0\n", "1 fsync(3) = 0\n", "1 lseek(3, 0, 0) = 12"], 3),
    (['1 chdir("\\q") = 0'], 1), (["1 f(089) = 0"], 1),
    (["1 f(" + "[" * 99 + "]" * 99 + ") = 0"], 1),
    (["1 +++ vanished +++"], 1), (["1 --- hm ---"], 1)])
def test_everything_else_is_an_error_with_its_line(lines, number):
    with pytest.raises(TraceSyntaxError) as caught:
        parse(lines, "x.log")
    assert (caught.value.name, caught.value.number) == ("x.log", number)


@pytest.mark.parametrize("path", sorted(LOGS.glob("*.log")),
                         ids=lambda path: path.stem)
def test_recorded_logs(path):
    """Nothing in a real log is foreign to the grammar."""
    with path.open() as lines:
        events = parse(lines, path.name)
    assert any(isinstance(event, Exit) for event in events)


# --- fuzz ---

PIECES = st.sampled_from(
    ["1 ", "fsync(", ")", " = ", "0", "-1 EIO (x)", '"', "\\x2f", "[", "]",
     "{", "}", "a=", "|", "O_RDWR", ", ", "3<", ">", "<unfinished ...>",
     "<... fsync resumed>", "+++ exited with 0 +++", "--- SIGHUP {} ---",
     " > ", "(", "0x1", "/* ", " */", " => ", "...", "~", "?", "\n", "é",
     "1<<", "NULL", " > a(b+0x1) [0x1]", "superseded by execve in pid 2"])


@settings(max_examples=400, deadline=None)
@given(st.lists(st.one_of(st.text(max_size=9), PIECES), max_size=20))
def test_rubbish_is_a_syntax_error_or_events(pieces):
    """Never another exception, whatever the lines hold."""
    try:
        parse("".join(pieces).splitlines(keepends=True))
    except TraceSyntaxError:
        pass


RECORDED = (LOGS / "threads.log").read_text().splitlines() \
    if (LOGS / "threads.log").exists() else ["1 fsync(3) = 0"]


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(RECORDED), st.integers(0, 200), st.integers(0, 9),
       st.text(max_size=3))
def test_damaged_lines(line, at, length, instead):
    try:
        parse([line[:at] + instead + line[at + length:]])
    except TraceSyntaxError:
        pass


@st.composite
def written_string(draw):
    """Bytes, and how strace may print them."""
    data = draw(st.binary(max_size=12))
    cut = draw(st.booleans())
    if draw(st.booleans()):
        text = "".join(f"\\x{byte:02x}" for byte in data)
    else:
        text = "".join(chr(b) if 32 <= b < 127 and b not in b'"\\'
                       else f"\\{b:03o}" for b in data)
    return Data(data, cut), f'"{text}"' + "..." * cut


NAMES = st.from_regex(r"[A-Z]_[A-Z]{1,9}", fullmatch=True)
SIMPLE = st.one_of(
    written_string(),
    st.integers(0, 2 ** 64 - 1).map(lambda n: (n, str(n))),
    st.integers(1, 2 ** 64 - 1).map(lambda n: (n, hex(n))),
    st.lists(NAMES, min_size=1, max_size=3).map(
        lambda n: (Flags(tuple(n)), "|".join(n))),
    st.just((None, "NULL")),
    st.tuples(st.integers(0, 999), written_string()).map(
        lambda t: (Fd(t[0], t[1][0].data.decode("utf-8", "surrogateescape")),
                   f"{t[0]}<" + "".join(f"\\x{b:02x}" for b in t[1][0].data)
                   + ">")))


def compound(inner):
    many = st.lists(inner, max_size=3)
    return st.one_of(
        many.map(lambda vs: (Array(tuple(v for v, _ in vs)),
                             "[" + ", ".join(t for _, t in vs) + "]")),
        many.map(lambda vs: (
            Struct(tuple((f"k{i}", v) for i, (v, _) in enumerate(vs))),
            "{" + ", ".join(f"k{i}={t}" for i, (_, t) in enumerate(vs))
            + "}")))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.recursive(SIMPLE, compound, max_leaves=6), max_size=5),
       st.integers(0, 2 ** 31), st.integers(1, 99999))
def test_round_trip(args, ret, pid):
    """Values, written as strace writes them, are read back."""
    text = ", ".join(written for _, written in args)
    call = one(f"{pid}  name({text}) = {ret}\n")
    assert isinstance(call, Syscall)
    assert (call.pid, call.args, call.ret) == \
        (pid, tuple(value for value, _ in args), ret)


def test_a_process_killed_as_it_enters_a_call():
    """strace has seen the stop, and the process is gone before it can be asked."""
    events = parse(["7  write(3</w/f>, \"x\", 1) = 1\n", "7  ???( <unfinished ...>\n",
                    "7  +++ killed by SIGKILL +++\n"])
    assert [type(event).__name__ for event in events] == ["Syscall", "Syscall", "Killed"]
    assert (events[1].name, events[1].args, events[1].exited) == ("???", (), None)
