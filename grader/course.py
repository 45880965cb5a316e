"""The course: lessons read from lessons/*.md, each of them text and test at once."""

import json
import re
import shlex
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import jsonschema
import yaml
from markdown_it import MarkdownIt

from .errors import UsageError

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent


@dataclass(frozen=True)
class Block:
    """A fenced block: its info string cut into language, words and key=value pairs."""

    path: Path
    line: int  # of the opening fence
    language: str
    words: tuple[str, ...]
    options: dict[str, str]
    text: str

    @property
    def where(self) -> str:
        return f"{_shown(self.path)}:{self.line}"


@dataclass(frozen=True)
class Lesson:
    path: Path
    id: str
    title: str
    part: str
    order: int
    duration_min: int
    xp: int
    needs: tuple[str, ...]
    files: tuple[str, ...]
    borrows: tuple[str, ...]  # those of them that earlier lessons have the student write
    proof: dict
    driver: tuple[str, ...]
    checks: dict[str, int]
    blocks: tuple[Block, ...]

    def block(self, language: str, word: str) -> Block:
        """The one block with this language and word, e.g. bash test, that is for the
        files of the lesson and not `instead_of` one of them."""
        found = [
            b for b in self.blocks
            if b.language == language and word in b.words and "instead_of" not in b.options
        ]
        if len(found) != 1:
            raise UsageError(
                f"{_shown(self.path)}: {len(found)} blocks ```{language} {word}, not one"
            )
        return found[0]

    def others(self) -> list[Block]:
        """The test blocks for a hand-in with another file than the lesson's:
        ```bash test for=w10/x.cpp instead_of=w10/x.c"""
        return [b for b in self.blocks if "test" in b.words and "instead_of" in b.options]

    def with_other(self, other: Block) -> "Lesson":
        """The lesson as it is for those who hand in the file of that block."""
        given, instead = other.options["for"], other.options["instead_of"]
        files = tuple(given if name == instead else name for name in self.files)
        plain = replace(other, options={})
        same = [b for b in self.blocks if b.language != other.language or "test" not in b.words]
        return replace(self, files=files, blocks=(*same, plain))

    def without(self, name: str, driver: tuple[str, ...]) -> "Lesson":
        """The lesson with a driver of these calls, which needs all its files but that one."""
        test = self.block("bash", "test")
        rest = replace(test, text=test.text.replace(f" {name} ", " "))
        blocks = tuple(rest if block is test else block for block in self.blocks)
        return replace(self, driver=driver, blocks=blocks)


def _shown(path: Path) -> str:
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


def commands(text: str) -> list[str]:
    """The commands of a block, one a line, lines that end in a backslash joined."""
    joined = text.replace("\\\n", " ")
    lines = (re.sub(r"\s+", " ", line).strip() for line in joined.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _line_of(node: yaml.Node | None, keys) -> int:
    """The line in the front matter at which the value at `keys` stands."""
    for key in keys:
        if isinstance(node, yaml.MappingNode):
            node = next((v for k, v in node.value if k.value == str(key)), node)
        elif isinstance(node, yaml.SequenceNode) and isinstance(key, int):
            node = node.value[key]
    return node.start_mark.line if node else 0


def _front_matter(path: Path, text: str) -> tuple[dict, str, int]:
    """Front matter, the Markdown after it and the number of lines before that."""

    def fail(line, why):
        raise UsageError(f"{_shown(path)}:{line}: front matter: {why}")

    if not text.startswith("---\n"):
        fail(1, "the file must begin with a line of three dashes")
    end = text.find("\n---\n", 3)
    if end < 0:
        fail(1, "no second line of three dashes ends it")
    source = text[4 : end + 1]
    try:
        data = yaml.safe_load(source)
        node = yaml.compose(source)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        fail(mark.line + 2 if mark else 1, getattr(error, "problem", None) or error)
    schema = json.loads((HERE / "lesson.schema.json").read_text())
    validator = jsonschema.Draft202012Validator(schema)
    for error in sorted(validator.iter_errors(data), key=lambda e: list(map(str, e.path))):
        key = ".".join(map(str, error.path)) or "the whole"
        fail(_line_of(node, error.path) + 2, f"{key}: {error.message}")
    if sum(data["checks"].values()) != data["xp"]:
        fail(
            _line_of(node, ["xp"]) + 2,
            f"xp is {data['xp']} and the checks add up to {sum(data['checks'].values())}",
        )
    return data, text[end + 5 :], text[: end + 5].count("\n")


def _blocks(path: Path, text: str, first_line: int) -> tuple[Block, ...]:
    found = []
    for token in MarkdownIt("commonmark").parse(text):
        if token.type != "fence":
            continue
        line = first_line + token.map[0] + 1
        try:
            words = shlex.split(token.info)
        except ValueError as error:
            raise UsageError(f"{_shown(path)}:{line}: fenced block: {error}") from None
        options = dict(word.split("=", 1) for word in words[1:] if "=" in word)
        plain = tuple(word for word in words[1:] if "=" not in word)
        language = words[0] if words else ""
        found.append(Block(path, line, language, plain, options, token.content))
    return tuple(found)


def load_lesson(path: Path) -> Lesson:
    """Reads one lesson; UsageError names the file and the line of what is wrong."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{_shown(path)}: {error}") from None
    data, body, lines = _front_matter(path, text)
    del data["kind"]
    for key in ("needs", "files", "borrows", "driver"):
        data[key] = tuple(data.get(key, ()))
    return Lesson(path=path, blocks=_blocks(path, body, lines), **data)


@cache
def lessons() -> dict[str, Lesson]:
    """All lessons by id, in the order of the course."""
    found = {}
    for path in sorted((ROOT / "lessons").glob("*.md")):
        lesson = load_lesson(path)
        if lesson.id in found:
            raise UsageError(f"{_shown(path)}: {found[lesson.id].path.name} has id {lesson.id} too")
        if not path.name.startswith(lesson.id):
            raise UsageError(f"{_shown(path)}: its id is {lesson.id}, its name says otherwise")
        found[lesson.id] = lesson
    return found


def find(lesson_id: str) -> Lesson:
    known = lessons()
    if lesson_id in known:
        return known[lesson_id]
    planned = lesson_id in (ROOT / "weeks" / "README.md").read_text(encoding="utf-8")
    what = "is on the map and not written yet" if planned else "is not a lesson of this course"
    raise UsageError(f"{lesson_id} {what}; there are: {', '.join(known)}")
