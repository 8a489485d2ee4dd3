"""The JSON body of a request that changes something: an object whose fields are asked for one by one.

Every mistake is an InputError that names the field, the value found and what to write instead.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NoReturn, Self

from drift_monitor.config.report import close_match
from drift_monitor.core.clean import clean_document
from drift_monitor.core.times import A_DURATION, parse_duration
from drift_monitor.errors import InputError
from drift_monitor.web.api.query import EXAMPLE, read_instant, shown


class Body:
    """The fields of a body; unknown ones are refused at once."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self._fields = fields

    @classmethod
    def read(cls, body: bytes, known: Sequence[str]) -> Self:
        """The body of a request; no bytes at all are an object without fields."""
        fields = _object(body) if body else {}
        for name in fields:
            if name not in known:
                hint = close_match(name, list(known)) or f"this address takes {', '.join(known) or 'none'}"
                raise InputError(f"field {shown(name)} is unknown; {hint}")
        return cls(clean_document(fields))

    def text(self, name: str) -> str:
        """A text that has to be there."""
        value = self._fields.get(name)
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


def _object(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body.decode(), parse_constant=_refuse_constant, object_pairs_hook=_unique)
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


def _refuse_constant(name: str) -> NoReturn:
    raise InputError(f"the body has the number {name}, which is no JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise InputError(f"field {shown(name)} is given twice")
        found[name] = value
    return found
