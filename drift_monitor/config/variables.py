"""Environment variables in values: `${NAME}` and `${NAME:-default}`.

Only `${` starts a variable; every other `$` is literal, so passwords and bcrypt hashes need no care. `$${` writes a
literal `${`. The default stands in for a variable that is unset or empty, as in the shell; a variable that is unset
and has no default is a mistake.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

_START = re.compile(r"(?P<literal>\$\$\{)|\$\{(?P<body>[^}]*)(?P<end>\}?)")
_BODY = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>.*))?", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A variable that can't be expanded: `number` says which `${` of the value."""

    number: int
    message: str
    hint: str


@dataclass(frozen=True)
class Expansion:
    """The text with its variables replaced; `changed` where there were any."""

    text: str
    changed: bool
    faults: tuple[Fault, ...] = ()


def expand(text: str, environ: Mapping[str, str]) -> Expansion:
    """Replaces the variables of one value."""
    faults: list[Fault] = []
    parts: list[str] = []
    position = 0
    for number, match in enumerate(_START.finditer(text)):
        parts.append(text[position : match.start()])
        position = match.end()
        value = "${" if match["literal"] else _value(match, environ)
        if isinstance(value, str):
            parts.append(value)
        else:
            faults.append(Fault(number=number, message=value[0], hint=value[1]))
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
