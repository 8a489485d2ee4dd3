"""The query string of a list: filters, a limit, and the cursor at which the next page begins.

A parameter that is unknown, given twice or unreadable is refused: a filter that was misspelt must not answer with
everything.
"""

import base64
import binascii
import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final, TypeVar

from starlette.datastructures import QueryParams

from drift_monitor.config.report import close_match
from drift_monitor.core.times import parse_instant, rfc3339
from drift_monitor.errors import InputError

DEFAULT_LIMIT: Final = 100
MAX_LIMIT: Final = 1000
EXAMPLE: Final = "2026-11-20T12:00:00Z"
_PAGING: Final = ("limit", "cursor")
_SHOWN: Final = 100  # characters of a value that an error repeats
_RFC_3339: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d(:\d\d(\.\d{1,6})?)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)

Choice = TypeVar("Choice", bound=StrEnum)


class Query:
    """The parameters of one request; every method raises InputError that names the parameter."""

    def __init__(self, given: QueryParams, known: Sequence[str], *, paged: bool = True) -> None:
        names = (*known, *(_PAGING if paged else ()))
        for name in given:
            if name not in names:
                raise InputError(f"query parameter {shown(name)} is unknown; {_instead(name, names)}")
            if len(given.getlist(name)) > 1:
                raise InputError(f"query parameter {name!r} is given {len(given.getlist(name))} times; give it once")
        self._given = given

    def text(self, name: str) -> str | None:
        """A filter as it stands; "" is a value, too."""
        return self._given.get(name)

    def choice(self, name: str, choices: type[Choice]) -> Choice | None:
        """One of a few words."""
        text = self._given.get(name)
        if text is None:
            return None
        for one in choices:
            if one.value == text:
                return one
        words = ", ".join(one.value for one in choices)
        raise InputError(f"query parameter {name!r} is {shown(text)}; write one of {words}")

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
        raise _no_cursor()

    def number(self) -> int | None:
        """The place that a cursor of `cursor(number)` stands for."""
        match self._cursor():
            case None:
                return None
            case [int() as number] if not isinstance(number, bool) and 0 <= number < 2**62:
                return number
        raise _no_cursor()

    def _cursor(self) -> Any:
        text = self._given.get("cursor")
        if text is None:
            return None
        try:
            return json.loads(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
        except (binascii.Error, ValueError, RecursionError):
            raise _no_cursor() from None


def cursor(*place: datetime | str | int) -> str:
    """A place in a list as a word for addresses; what is in it is no interface."""
    parts = [rfc3339(one) if isinstance(one, datetime) else one for one in place]
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


def _no_cursor() -> InputError:
    return InputError("query parameter 'cursor' is none that this list gave; take `next` of the page before, or none")


def _instead(name: str, names: Sequence[str]) -> str:
    return close_match(name, list(names)) or f"this address takes {', '.join(names) or 'none'}"
