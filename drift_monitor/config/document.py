"""YAML text -> plain values, each with its place in the file.

Safe and small by construction: no tags beyond the plain ones, no duplicate keys, one document, at most 1 MB, at most
64 levels, aliases within a limit. Scalars follow the YAML 1.2 core schema: `on`, `yes` and `no` are text, `1e-3` is a
number, dates are text. Keys are text as written; variables are expanded in values only.

Environment variables in values: `${NAME}` and `${NAME:-default}`.

Only `${` starts a variable; every other `$` is literal, so passwords and bcrypt hashes need no care. `$${` writes a
literal `${`. The default stands in for a variable that is unset or empty, as in the shell; a variable that is unset
and has no default is a mistake.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from yaml.composer import Composer
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from yaml.parser import Parser
from yaml.reader import Reader
from yaml.resolver import BaseResolver
from yaml.scanner import Scanner

from drift_monitor.errors import ConfigError, Problem

LARGEST_FILE = 1_000_000  # bytes; a thousand monitors are a third of it
DEEPEST = 64  # levels; a configuration has eight
MOST_ALIASED = 50_000  # values that aliases may add, so that a few lines can't fill the memory

_QUOTE_HINT = "inside {...} or [...], put values with ${...} in quotes"

Path_ = tuple[str | int, ...]

_PREFIX = "tag:yaml.org,2002:"
_PLAIN = "plain"
_TAGS = {_PREFIX + name for name in ("str", "int", "float", "bool", "null", "seq", "map")} | {_PLAIN}
_TYPES: Mapping[str, type] = {_PREFIX + "int": int, _PREFIX + "float": float, _PREFIX + "bool": bool}
_NULLS = {"", "~", "null", "Null", "NULL"}
_BOOLS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INTEGER = re.compile(r"[-+]?[0-9]{1,100}")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_SPECIAL = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a value stands, where its key stands, and how it is written (None for mappings and lists)."""

    line: int
    column: int
    key_line: int
    key_column: int
    text: str | None
    kind: str


@dataclass(frozen=True, kw_only=True)
class Document:
    """The values of a file. `broken` holds paths that have a problem already and need no second one."""

    file: str
    value: Any
    places: Mapping[Path_, Place]
    broken: frozenset[Path_]
    problems: tuple[Problem, ...]

    def place(self, path: Path_) -> Place:
        """Where the value at a path stands, or the nearest value around it."""
        while path not in self.places:
            path = path[:-1]
        return self.places[path]


def read_text(path: Path) -> str:
    """The text of a file; raises ConfigError when it can't be read, is too large or is not UTF-8."""
    try:
        with path.open("rb") as stream:
            content = stream.read(LARGEST_FILE + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError((Problem(str(path), 1, 1, f"the file can't be read: {reason}"),)) from error
    if len(content) > LARGEST_FILE:
        raise ConfigError((Problem(str(path), 1, 1, "the file is larger than 1 MB", "split the configuration"),))
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8-sig", "replace")
        problem = Problem(str(path), *_line_and_column(before, len(before)), "the file is not UTF-8 text")
        raise ConfigError((problem,)) from error


def parse_document(text: str, file: str, environ: Mapping[str, str]) -> Document:
    """The document of a text; raises ConfigError where YAML itself is wrong."""
    builder = _Builder(file=file, source=text, environ=environ)
    root = _compose(text, file)
    if root is None:
        raise ConfigError((Problem(file, 1, 1, "the file is empty"),))
    value = builder.build(root, (), root)
    return Document(
        file=file,
        value=value,
        places=builder.places,
        broken=frozenset(builder.broken),
        problems=tuple(builder.mistakes),
    )


class _TooDeep(yaml.MarkedYAMLError):
    """The document nests deeper than any configuration."""


class _Loader(Reader, Scanner, Parser, Composer, BaseResolver):
    """Composes nodes and constructs nothing. Plain scalars keep a tag of their own, to be read by `_plain`."""

    def __init__(self, stream: str) -> None:
        Reader.__init__(self, stream)
        Scanner.__init__(self)
        Parser.__init__(self)
        Composer.__init__(self)
        BaseResolver.__init__(self)
        self.depth = 0

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        self.depth += 1
        if self.depth > DEEPEST:
            raise _TooDeep(problem=f"more than {DEEPEST} levels of nesting", problem_mark=self.get_mark())
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1

    def resolve(self, kind: type[Node], value: Any, implicit: Any) -> str:
        if kind is ScalarNode:
            return _PLAIN if implicit[0] else _PREFIX + "str"
        return _PREFIX + ("seq" if kind is SequenceNode else "map")


def _compose(text: str, file: str) -> Node | None:
    try:
        return _Loader(text).get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        hint = _QUOTE_HINT if mark and _follows_dollar(text, line, column) else error.context or ""
        said = error.problem or error.context or "no reason given"
        if said.startswith("but "):
            said, hint = f"{hint}, {said}", ""
        problem = Problem(file, line, column, f"not valid YAML: {said}", "" if hint == said else hint)
    except yaml.reader.ReaderError as error:
        line, column = _line_and_column(text, error.position)
        problem = Problem(file, line, column, "not valid YAML: a character that can't stand in a text file")
    except (ValueError, OverflowError, RecursionError):  # PyYAML lets a few escapes and directives through to int()
        problem = Problem(file, 1, 1, "not valid YAML: an escape or directive that can't be read")
    raise ConfigError((problem,))


def _follows_dollar(text: str, line: int, column: int) -> bool:
    """Whether the mistake is the brace of an unquoted ${...} inside {...} or [...]."""
    source = text.splitlines()[line - 1 : line]
    return bool(source) and source[0][max(column - 2, 0) : column] == "${"


def _line_and_column(text: str, index: int) -> tuple[int, int]:
    before = text[:index]
    return before.count("\n") + 1, index - (before.rfind("\n") + 1) + 1


@dataclass(kw_only=True)
class _Builder:
    """Walks nodes into values, noting places and problems on the way."""

    file: str
    source: str
    environ: Mapping[str, str]
    places: dict[Path_, Place] = field(default_factory=dict)
    broken: set[Path_] = field(default_factory=set)
    mistakes: list[Problem] = field(default_factory=list)
    open_nodes: set[int] = field(default_factory=set)
    seen_nodes: set[int] = field(default_factory=set)
    aliased: int = 0

    def build(self, node: Node, path: Path_, key: Node) -> Any:
        self._count(node)
        self.places[path] = Place(
            line=node.start_mark.line + 1,
            column=node.start_mark.column + 1,
            key_line=key.start_mark.line + 1,
            key_column=key.start_mark.column + 1,
            text=node.value if isinstance(node, ScalarNode) else None,
            kind="a mapping" if isinstance(node, MappingNode) else "a list",
        )
        if id(node) in self.open_nodes:
            return self._wrong(path, node, "an alias stands inside its own anchor")
        if node.tag not in _TAGS:
            return self._wrong(path, node, f"the tag {_shown_tag(node.tag)} is not allowed", "remove the tag")
        self.open_nodes.add(id(node))
        try:
            return self._value(node, path)
        finally:
            self.open_nodes.discard(id(node))

    def _value(self, node: Node, path: Path_) -> Any:
        match node:
            case MappingNode():
                return self._mapping(node, path)
            case SequenceNode():
                return [self.build(item, (*path, index), item) for index, item in enumerate(node.value)]
            case _:
                return self._scalar(node, path)

    def _mapping(self, node: MappingNode, path: Path_) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key, item in self._entries(node, path):
            place = (*path, key.value)
            if key.value in values:
                first = self.places[place].key_line
                hint = f"the first is in line {first}"
                self._wrong(path, key, f"the key {key.value!r} stands twice", hint, breaks=False)
                continue
            values[key.value] = self.build(item, place, key)
        return values

    def _entries(self, node: MappingNode, path: Path_) -> list[tuple[ScalarNode, Node]]:
        own: list[tuple[ScalarNode, Node]] = []
        merged: list[MappingNode] = []
        for key, item in node.value:
            if not isinstance(key, ScalarNode):
                self._wrong(path, key, "a key must be text", breaks=False)
            elif key.tag == _PLAIN and key.value == "<<":
                merged += self._merged(item, path)
            else:
                own.append((key, item))
        taken = {key.value for key, _ in own}
        for mapping in merged:
            for key, item in self._inherited(mapping, path):
                if key.value not in taken:
                    taken.add(key.value)
                    own.append((key, item))
        return own

    def _inherited(self, mapping: MappingNode, path: Path_) -> list[tuple[ScalarNode, Node]]:
        if id(mapping) in self.open_nodes:
            self._wrong(path, mapping, "a mapping merges itself", breaks=False)
            return []
        self.open_nodes.add(id(mapping))
        self._count(mapping)
        try:
            return self._entries(mapping, path)
        finally:
            self.open_nodes.discard(id(mapping))

    def _merged(self, node: Node, path: Path_) -> list[MappingNode]:
        candidates = node.value if isinstance(node, SequenceNode) else [node]
        mappings = [one for one in candidates if isinstance(one, MappingNode)]
        if len(mappings) < len(candidates):
            self._wrong(path, node, "<< merges mappings only", breaks=False)
        return mappings

    def _scalar(self, node: Node, path: Path_) -> Any:
        text = str(node.value)
        if any("\ud800" <= character <= "\udfff" for character in text):
            return self._wrong(path, node, "half of a surrogate pair is no text")
        expansion = expand(text, self.environ)
        source = self.source[node.start_mark.index : node.end_mark.index]
        for fault in expansion.faults:
            offsets = starts(source)
            index = node.start_mark.index + (offsets[fault.number] if fault.number < len(offsets) else 0)
            self.mistakes.append(Problem(self.file, *_line_and_column(self.source, index), fault.message, fault.hint))
            self.broken.add(path)
        if expansion.changed:
            return expansion.text
        return self._typed(node, text, path)

    def _typed(self, node: Node, text: str, path: Path_) -> Any:
        if node.tag == _PREFIX + "str":
            return text
        value = _plain(text)
        if value is None:
            return self._wrong(path, node, "there is no value", "give one, or remove the key; {} and [] are empty")
        if not isinstance(value, _TYPES.get(node.tag, object)):
            return self._wrong(path, node, f"the tag {_shown_tag(node.tag)} does not fit the value", "remove the tag")
        return value

    def _count(self, node: Node) -> None:
        """Refuses documents that grow by aliases: each value met again counts, with everything below it."""
        if id(node) in self.seen_nodes:
            self.aliased += 1
        self.seen_nodes.add(id(node))
        if self.aliased > MOST_ALIASED:
            where = (node.start_mark.line + 1, node.start_mark.column + 1)
            problem = Problem(self.file, *where, f"aliases repeat more than {MOST_ALIASED:,} values")
            raise ConfigError((*self.mistakes, problem))

    def _wrong(self, path: Path_, node: Node, message: str, hint: str | None = None, breaks: bool = True) -> None:
        where = (node.start_mark.line + 1, node.start_mark.column + 1)
        subject = f"{path[-1]}: " if breaks and path and isinstance(path[-1], str) else ""
        self.mistakes.append(Problem(self.file, *where, subject + message, hint or ""))
        if breaks:
            self.broken.add(path)


def _plain(text: str) -> Any:
    if text in _NULLS:
        return None
    if text in _BOOLS:
        return _BOOLS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _SPECIAL.fullmatch(text):
        return float(text.replace(".", "").lower())
    return text


def _shown_tag(tag: str) -> str:
    return "!!" + tag.removeprefix(_PREFIX) if tag.startswith(_PREFIX) else tag


_START = re.compile(r"(?P<literal>\$\$\{)|\$\{(?P<body>[^}]*)(?P<end>\}?)")
_BODY = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>.*))?", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class VariableError:
    """A variable that can't be expanded: `number` says which `${` of the value."""

    number: int
    message: str
    hint: str


@dataclass(frozen=True)
class Expansion:
    """The text with its variables replaced; `changed` where there were any."""

    text: str
    changed: bool
    faults: tuple[VariableError, ...] = ()


def expand(text: str, environ: Mapping[str, str]) -> Expansion:
    """Replaces the variables of one value."""
    faults: list[VariableError] = []
    parts: list[str] = []
    position = 0
    for number, match in enumerate(_START.finditer(text)):
        parts.append(text[position : match.start()])
        position = match.end()
        value = "${" if match["literal"] else _value(match, environ)
        if isinstance(value, str):
            parts.append(value)
        else:
            faults.append(VariableError(number=number, message=value[0], hint=value[1]))
    parts.append(text[position:])
    return Expansion("".join(parts), position > 0, tuple(faults))


def starts(source: str) -> list[int]:
    """Where the variables and their escapes start in a piece of source text."""
    return [match.start() for match in _START.finditer(source)]


def _value(match: re.Match[str], environ: Mapping[str, str]) -> str | tuple[str, str]:
    literal = "write $${ for a literal ${"
    if not match["end"]:
        return "a variable starts with ${ and has no }", literal
    body = _BODY.fullmatch(match["body"])
    if body is None:
        return "${...} holds no variable name", f"write ${{NAME}} or ${{NAME:-default}}; {literal}"
    name, default = body["name"], body["default"]
    found = environ.get(name)
    if default is not None and not found:
        return default
    if found is None:
        return f"the environment variable {name} is not set", f"set it, or give a default: ${{{name}:-...}}"
    return found
