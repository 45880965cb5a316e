"""Small synthetic strace logs, written call by call."""

from grader.trace import parse, replay

DIR = "/tree"


class Log:
    """Lines as `strace -f -y` writes them. `pid` is the thread that acts."""

    def __init__(self) -> None:
        self.pid = 7
        self.lines: list[str] = []
        self.paths: dict[int, str] = {}
        self.next = 4
        self.raw('execve("/tree/driver", ["driver"], 0x7f /* 9 vars */) = 0')

    def raw(self, text: str) -> "Log":
        self.lines.append(f"{self.pid}  {text}\n")
        return self

    def fd(self, number: int) -> str:
        return f"{number}<{self.paths[number]}>"

    def open(self, name: str, flags: str = "O_WRONLY|O_CREAT|O_APPEND") -> int:
        path = DIR if name == "." else f"{DIR}/{name}"
        number, self.next = self.next, self.next + 1
        self.paths[number] = path
        mode = ", 0644" if "O_CREAT" in flags else ""
        self.raw(f'openat(AT_FDCWD<{DIR}>, "{name}", {flags}{mode})'
                 f' = {number}<{path}>')
        return number

    def write(self, number: int, text: str = "abcd") -> None:
        self.raw(f'write({self.fd(number)}, "{text}", {len(text)})'
                 f' = {len(text)}')

    def call(self, name: str, number: int, rest: str = "",
             result: str = "0") -> None:
        self.raw(f"{name}({self.fd(number)}{rest}) = {result}")

    def sync(self, number: int, result: str = "0") -> None:
        self.call("fsync", number, result=result)

    def sync_dir(self) -> None:
        number = self.open(".", "O_RDONLY|O_DIRECTORY")
        self.sync(number)
        self.call("close", number)

    def rename(self, old: str, new: str) -> None:
        self.raw(f'rename("{old}", "{new}") = 0')

    def mark(self, text: str) -> None:
        self.raw(f'write(3<pipe:[1]>, "{text}\\n", {len(text) + 1})'
                 f' = {len(text) + 1}')

    def begin(self, ident: str, function: str) -> None:
        self.mark(f"> {ident} {function}")

    def end(self, ident: str, function: str, result: int = 0) -> None:
        self.mark(f"< {ident} {function} {result}")

    def events(self):
        return parse(self.lines)

    def trace(self, initial=None):
        start = {DIR: None, f"{DIR}/driver": 9000}
        return replay(self.events(), program="/tree/driver", cwd=DIR,
                      initial=start | (initial or {}), marks_fd=3)
