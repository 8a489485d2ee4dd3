"""What a request asks for: parameters of the query string, fields of a JSON body, read one by one.

A parameter or field that is unknown, given twice or unreadable is refused: a filter that was misspelt must not answer
with everything. Every InputError names the parameter or field, the value found, and what to write instead.
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final, NoReturn, Self, TypeVar

from starlette.datastructures import QueryParams

from drift_monitor.config.report import close_match
from drift_monitor.core.times import A_DURATION, clean_document, parse_duration, parse_instant, rfc3339
from drift_monitor.errors import InputError

DEFAULT_LIMIT: Final = 100
MAX_LIMIT: Final = 1000
EXAMPLE: Final = "2026-11-20T12:00:00Z"
_PAGING: Final = ("limit", "cursor")
_SHOWN: Final = 100  # characters of a value that an error repeats: it must not echo a megabyte
# Stricter than `fromisoformat`, which takes dates without a time and times without a zone.
_RFC_3339: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d(:\d\d(\.\d{1,6})?)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)

Choice = TypeVar("Choice", bound=StrEnum)


class Query:
    """The parameters of one request."""

    def __init__(self, given: QueryParams, known: Sequence[str] = (), *, paged: bool = False) -> None:
        names = (*known, *(_PAGING if paged else ()))
        for name in given:
            if name not in names:
                hint = close_match(name, list(names)) or f"this address takes {', '.join(names) or 'none'}"
                raise InputError(f"query parameter {shown(name)} is unknown; {hint}")
            if len(given.getlist(name)) > 1:
                raise InputError(f"query parameter {name!r} is given {len(given.getlist(name))} times; give it once")
        self._given = given

    def text(self, name: str) -> str | None:
        """A filter as it stands; "" is a value, too."""
        return self._given.get(name)

    def choice(self, name: str, choices: type[Choice]) -> Choice | None:
        """One of a few words."""
        text = self._given.get(name)
        words = [choice.value for choice in choices]
        if text is None or text in words:
            return None if text is None else choices(text)
        raise InputError(f"query parameter {name!r} is {shown(text)}; write one of {', '.join(words)}")

    def instant(self, name: str) -> datetime | None:
        text = self._given.get(name)
        if text is None:
            return None
        moment = read_instant(text)
        if moment is None:
            # A plus sign that was not quoted arrives as a space.
            hint = "; a + in an address is written %2B" if " " in text else ""
            raise InputError(f"query parameter {name!r} is {shown(text)}; write a time as {EXAMPLE}{hint}")
        return moment

    @property
    def limit(self) -> int:
        """How many entries a page has at most."""
        text = self._given.get("limit", str(DEFAULT_LIMIT))
        if not re.fullmatch(r"[0-9]{1,4}", text) or not 1 <= int(text) <= MAX_LIMIT:
            raise InputError(f"query parameter 'limit' is {shown(text)}; write a whole number from 1 to {MAX_LIMIT}")
        return int(text)

    def moment_and_id(self) -> tuple[datetime, str] | None:
        """The place that a cursor of `cursor(moment, id)` stands for."""
        match self._cursor():
            case None:
                return None
            case [str() as text, str() as id] if moment := read_instant(text):
                return moment, id
        raise _unknown_cursor()

    def number(self) -> int | None:
        """The place that a cursor of `cursor(number)` stands for."""
        match self._cursor():
            case None:
                return None
            # A bool is an int, and SQLite's integers end at 2**63.
            case [int() as number] if not isinstance(number, bool) and 0 <= number < 2**62:
                return number
        raise _unknown_cursor()

    def _cursor(self) -> Any:
        text = self._given.get("cursor")
        if text is None:
            return None
        try:
            return json.loads(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
        except (binascii.Error, ValueError, RecursionError):
            raise _unknown_cursor() from None


def _unknown_cursor() -> InputError:
    return InputError("query parameter 'cursor' is none that this list gave; take `next` of the page before, or none")


def cursor(*place: datetime | str | int) -> str:
    """A place in a list as a word for addresses; what is in it is no interface."""
    parts = [rfc3339(part) if isinstance(part, datetime) else part for part in place]
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


def read_instant(text: str) -> datetime | None:
    """A moment in RFC 3339 with its zone; None where the text is none."""
    if _RFC_3339.fullmatch(text) is None:
        return None
    try:
        return parse_instant(text.upper(), UTC)
    except InputError:
        return None


def shown(value: object) -> str:
    """A value as an error repeats it: quoted, and not endless."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


class Body:
    """The fields of the JSON object that a request sends; unknown ones are refused at once."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self._fields = fields

    @classmethod
    def read(cls, body: bytes, known: Sequence[str] = ()) -> Self:
        """The body of a request; no bytes at all are an object without fields."""
        fields = _parse_object(body) if body else {}
        for name in fields:
            if name not in known:
                hint = close_match(name, list(known)) or f"this address takes {', '.join(known) or 'none'}"
                raise InputError(f"field {shown(name)} is unknown; {hint}")
        return cls(clean_document(fields))

    def text(self, name: str, default: str | None = None) -> str:
        """A text that has to be there, where it has no default."""
        value = self._fields.get(name, default)
        if value is None:
            raise InputError(f"field {name!r} is missing; write a text")
        return value if isinstance(value, str) else _refuse(name, value, "a text")

    def sequence(self, name: str, what: str) -> list[Any]:
        """A list that has to be there."""
        value = self._fields.get(name)
        if value is None:
            raise InputError(f"field {name!r} is missing; write {what}")
        return value if isinstance(value, list) else _refuse(name, value, what)

    def instant(self, name: str) -> datetime | None:
        value = self._fields.get(name)
        if value is None:
            return None
        moment = read_instant(value) if isinstance(value, str) else None
        return moment or _refuse(name, value, f"a time such as {EXAMPLE}")

    def duration(self, name: str) -> timedelta | None:
        value = self._fields.get(name)
        if value is None:
            return None
        try:
            return parse_duration(value) if isinstance(value, str) else _refuse(name, value, A_DURATION)
        except InputError:
            _refuse(name, value, A_DURATION)


def _refuse(name: str, value: object, wanted: str) -> NoReturn:
    raise InputError(f"field {name!r} is {shown(value)}; write {wanted}")


def _parse_object(body: bytes) -> dict[str, Any]:
    def refuse_constant(name: str) -> NoReturn:  # NaN and Infinity, which `json` would take
        raise InputError(f"the body has the number {name}, which is no JSON")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        fields: dict[str, Any] = {}
        for name, value in pairs:
            if name in fields:
                raise InputError(f"field {shown(name)} is given twice")
            fields[name] = value
        return fields

    try:
        document = json.loads(body.decode(), parse_constant=refuse_constant, object_pairs_hook=unique)
    except InputError:
        raise
    except UnicodeDecodeError:
        raise InputError("the body is no UTF-8 text; send JSON in UTF-8") from None
    except json.JSONDecodeError as error:
        raise InputError(f"the body is no JSON: {error.msg} in line {error.lineno}, column {error.colno}") from None
    except (ValueError, RecursionError):  # a number of thousands of digits; brackets without end
        raise InputError("the body is no JSON that can be read here: a number or its nesting is too large") from None
    if not isinstance(document, dict):
        raise InputError(f"the body is {shown(document)}; send a JSON object")
    return document
