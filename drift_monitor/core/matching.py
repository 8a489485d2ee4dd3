"""Matchers on labels, as Alertmanager's silences have them: which alerts somebody means.

    severity="warning"      equal           feature=~"amount|price"     the whole value matches
    severity!="critical"    not equal       feature!~"test_.*"          the whole value does not match

A label that an alert does not have counts as empty. Expressions have RE2's syntax and its promise: time linear in the
value, whatever the expression, because people send them over the network and each alert is held against them.

Source: Alertmanager's documentation on matchers and silences.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final, Self

import re2

from drift_monitor.errors import InputError

MAX_TEXT: Final = 1000  # characters of a name or value: far longer than any label
MAX_WRITTEN: Final = 3 * MAX_TEXT  # of a matcher as a person writes it, its value perhaps full of escapes
# Of a text without blanks around it: a lazy value between blanks takes the square of their number.
_FORM: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)\s*(=~|!~|!=|=)\s*(.*)", re.DOTALL)
_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)
_ESCAPED: Final = {"n": "\n", "t": "\t"}


class Operator(StrEnum):
    """How a label is held against a matcher's value."""

    EQUAL = "="
    NOT_EQUAL = "!="
    MATCHES = "=~"
    MATCHES_NOT = "!~"

    @classmethod
    def of(cls, *, is_regex: bool, is_equal: bool) -> "Operator":
        """The operator that Alertmanager's API writes as these two."""
        if is_regex:
            return cls.MATCHES if is_equal else cls.MATCHES_NOT
        return cls.EQUAL if is_equal else cls.NOT_EQUAL

    @property
    def is_regex(self) -> bool:
        return self in {Operator.MATCHES, Operator.MATCHES_NOT}

    @property
    def is_equal(self) -> bool:
        return self in {Operator.EQUAL, Operator.MATCHES}


@dataclass(frozen=True, kw_only=True)
class Matcher:
    """One condition on one label; raises InputError for an expression that is none."""

    name: str
    operator: Operator
    value: str

    def __post_init__(self) -> None:
        if not self.name or max(len(self.name), len(self.value)) > MAX_TEXT:
            raise InputError(f"matcher {self}: a name and at most {MAX_TEXT} characters are needed")
        if self.operator.is_regex:
            _compiled(self.value)

    def __str__(self) -> str:
        quoted = self.value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'{self.name}{self.operator.value}"{quoted}"'

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether an alert with these labels is meant."""
        value = labels.get(self.name, "")
        is_same = bool(_compiled(self.value).fullmatch(value)) if self.operator.is_regex else value == self.value
        return is_same is self.operator.is_equal

    def to_json(self) -> dict[str, Any]:
        """As Alertmanager's API writes it."""
        return {
            "name": self.name,
            "value": self.value,
            "isRegex": self.operator.is_regex,
            "isEqual": self.operator.is_equal,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        operator = Operator.of(is_regex=document["isRegex"], is_equal=document["isEqual"])
        return cls(name=document["name"], operator=operator, value=document["value"])


def parse_matcher(text: str) -> Matcher:
    """The matcher that a person wrote, its value in double quotes or bare; raises InputError."""
    if len(text) > MAX_WRITTEN:
        raise InputError(f"matcher {text[:80]!r}…: has {len(text)} characters, at most {MAX_WRITTEN} are read")
    form = _FORM.fullmatch(text.strip())
    if form is None:
        raise InputError(
            f"{text!r} is no matcher; write LABEL=VALUE, LABEL!=VALUE, LABEL=~REGEX or LABEL!~REGEX, "
            'as in severity="warning"'
        )
    name, sign, value = form.groups()
    if value.startswith('"'):
        quoted = _QUOTED.fullmatch(value)
        if quoted is None:
            raise InputError(f"matcher {text!r}: its quotes don't close")
        value = _ESCAPE.sub(lambda found: _ESCAPED.get(found[1], found[1]), quoted[1])
    return Matcher(name=name, operator=Operator(sign), value=value)


def check_matchers(matchers: Sequence[Matcher]) -> None:
    """Refuse what would mean every alert there is: at least one matcher must ask for a label that has a value."""
    if all(matcher.matches({}) for matcher in matchers):
        raise InputError(
            "a silence needs at least one matcher that an empty label does not fulfil, as in monitor=NAME; "
            'to mean all alerts, write monitor=~".+"'
        )


def match_all(matchers: Iterable[Matcher], labels: Mapping[str, str]) -> bool:
    """Whether every matcher means an alert with these labels."""
    return all(matcher.matches(labels) for matcher in matchers)


@lru_cache(maxsize=1024)  # each alert is held against each silence, again in every evaluation
def _compiled(expression: str) -> Any:
    options = re2.Options()
    options.log_errors = False  # re2 would write to stderr what the exception says, past our log
    try:
        return re2.compile(expression, options)
    except re2.error as error:
        said = error.args[0].decode(errors="replace") if error.args and isinstance(error.args[0], bytes) else error
        raise InputError(f"{expression!r} is no regular expression (RE2): {said}") from None
