"""What all sections of a configuration have in common, and the kinds of value a key can hold.

A section is one pydantic model that is both what may be written and what the program uses. Its types say what they
expect and how a value is written back. Text stays text and numbers stay numbers: `name: 5` is a mistake, not the name
"5". Where a value comes from an environment variable it arrives as text, so number fields read text too.
"""

import importlib
import importlib.util
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import formataddr, parseaddr
from pathlib import Path
from typing import Annotated, Any, ClassVar
from zoneinfo import ZoneInfo, available_timezones

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    PlainSerializer,
    SecretStr,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic_core import CoreSchema, PydanticCustomError, PydanticKnownError, core_schema

from drift_monitor.config.urls import url_mistake
from drift_monitor.core.times import A_DURATION, format_duration, parse_duration, parse_instant, rfc3339
from drift_monitor.errors import InputError

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,127}")
_LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NUMBER = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_INTEGER = re.compile(r"[-+]?[0-9]{1,100}")
_SMARTHOST = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+):(?P<port>[0-9]{1,5})")
RESERVED_LABELS = frozenset({"alertname", "monitor", "feature", "segment", "metric", "severity"})
EXTRA = 'pip install "drift-monitor[apprise]"'


class Section(BaseModel):
    """Common to all sections: frozen, unknown keys refused, values never in error messages.

    A secret may stand in a file of its own, under the same key with `_file`: where a section has both keys, they
    exclude each other.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, arbitrary_types_allowed=True)

    exactly_one: ClassVar[tuple[tuple[str, ...], ...]] = ()  # keys of which one is needed, and no other with it
    at_most_one: ClassVar[tuple[tuple[str, ...], ...]] = ()
    needs: ClassVar[Mapping[str, str]] = {}  # key -> the key it needs, which is missing on its account
    placeholders: ClassVar[Mapping[str, Any]] = {}  # stand in for broken keys, so that the others can still be checked
    filled_in: ClassVar[frozenset[str]] = frozenset()  # fields that the service sets itself: no keys of a file

    def used(self) -> Any:
        """What the program uses in the section's place: itself, unless `core` has a value for it."""
        return self

    def public(self) -> dict[str, Any]:
        """The section as it could be written, defaults spelled out; a secret is "<secret>"."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class Named(Section):
    """A section that is known by its name."""

    placeholders: ClassVar = {"name": "placeholder"}


@dataclass(frozen=True)
class WrittenAs:
    """Marks a field that holds a value of `core`, which a file writes as a section with a static method `written`."""

    section: Any  # a type of Section

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        def read(value: Any, read_section: core_schema.ValidatorFunctionWrapHandler) -> Any:
            return value if isinstance(value, source) else read_section(value).used()

        return core_schema.no_info_wrap_validator_function(
            read,
            handler.generate_schema(self.section),
            serialization=core_schema.plain_serializer_function_ser_schema(self.section.written),
        )


def mistake(message: str, hint: str | None = None) -> PydanticCustomError:
    """An error of our own for a validator to raise; `report` prints message, value found and hint."""
    return PydanticCustomError("mistake", "{message}", {"message": message, "hint": hint or ""})


def _duration(value: Any) -> Any:
    if isinstance(value, timedelta):
        return value
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str):
        raise mistake(f"must be {A_DURATION}")
    try:
        return parse_duration(text)
    except InputError:
        unit = f"did you mean {text}s?" if text.isdecimal() else ""
        raise mistake(f"must be {A_DURATION}", unit) from None


def _whole_seconds(value: timedelta) -> timedelta:
    if value % timedelta(seconds=1):
        raise mistake("must be whole seconds")
    return value


def _positive(value: timedelta) -> timedelta:
    if value < timedelta(seconds=1):
        raise mistake("must be at least 1s")
    return value


def _moment(value: Any) -> Any:
    """A date with or without a time; what has no offset is read in a time zone that only the monitor knows."""
    if isinstance(value, datetime):
        return value
    text = _text(_string(value))
    try:
        parse_instant(text, UTC)
    except InputError as error:
        # It quotes the text itself, so the value found is not said once more.
        raise PydanticCustomError("no_date", "{message}", {"message": str(error)}) from None
    return datetime.fromisoformat(text)


def _name(value: str) -> str:
    if _NAME.fullmatch(value) is None:
        raise mistake("must be a name of letters, digits, '_', '-', '.' and ':', at most 128 of them")
    return value


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise PydanticKnownError("string_type")
    return value


def _text(value: str) -> str:
    if not value.strip():
        raise mistake("must not be empty")
    if "\x00" in value:
        raise mistake("must not hold a NUL character")
    return value


def _label(value: str) -> str:
    if _LABEL.fullmatch(value) is None:
        raise mistake("a label name is letters, digits and '_', and starts with no digit")
    return value


def _free_label(value: str) -> str:
    if value in RESERVED_LABELS:
        raise mistake(f"the label {value!r} is set by the service itself", "choose another name")
    return _label(value)


def _zone(value: Any) -> ZoneInfo:
    if isinstance(value, ZoneInfo):
        return value
    if not isinstance(value, str) or value not in available_timezones():
        raise mistake("must be an IANA time zone such as UTC or Europe/Berlin")
    return ZoneInfo(value)


def _database_url(value: SecretStr) -> SecretStr:
    """A URL of a dialect we support, without what other programs write there."""
    if found := url_mistake(value.get_secret_value()):
        raise mistake(*found)
    return value


def _page_url(value: str) -> str:
    """The address of a site that people open; what leads to one of its pages is added."""
    if re.fullmatch(r"https?://[^/\s?#@]+(?:/[^\s?#]*)?", value) is None:
        raise mistake("must be an http:// or https:// URL, without '?' and '#'")
    return value


def _web_url(value: SecretStr) -> SecretStr:
    """A URL that notifications can be posted to; messages show nothing of it."""
    if re.fullmatch(r"https?://[^/\s?#]+\S*", value.get_secret_value()) is None:
        raise mistake("must be an http:// or https:// URL")
    return value


def _apprise_url(value: SecretStr) -> SecretStr:
    """An address that Apprise can send to, asked of itself: which schemes there are is its knowledge, and an extra."""
    if importlib.util.find_spec("apprise") is None:
        raise mistake("needs an extra that is not installed", EXTRA)
    apprise = importlib.import_module("apprise")
    # Its logger quotes the addresses it refuses, and these are secrets.
    logging.getLogger("apprise").setLevel(logging.CRITICAL)
    if apprise.Apprise.instantiate(value.get_secret_value(), suppress_exceptions=True) is None:
        raise mistake("is no address that Apprise knows, or one with something missing", "see its list of services")
    return value


@dataclass(frozen=True)
class _Lines:
    """Reads a file of several secrets, which holds one a line and as many as it likes; `needs` says what is missing."""

    needs: str

    def __call__(self, value: Any, read: ValidatorFunctionWrapHandler) -> Any:
        if not isinstance(value, SecretStr):
            return read(value)
        lines = value.get_secret_value().split()
        if not lines:
            raise mistake(self.needs)
        return tuple(secret for line in lines for secret in read([line]))


def _mail_address(value: str) -> str:
    """One address, with or without a name before it; nothing that could end a header line."""
    hint = "write one address a line, such as team@example.org or Team <team@example.org>"
    if not value.isprintable() or not value.isascii():
        raise mistake("must be a mail address in ASCII", hint)
    name, address = parseaddr(value)
    if re.fullmatch(r"[^@\s<>,;:\"()\[\]\\]+@[A-Za-z0-9.-]+", address) is None or formataddr((name, address)) != value:
        raise mistake("must be a mail address", hint)
    return value


def _smarthost(value: str) -> str:
    match = _SMARTHOST.fullmatch(value)
    if match is None or not 0 < int(match["port"]) < 65536:
        raise mistake("must be a host and a port such as mail.example.org:587")
    return value


def _number(value: Any) -> int | float:
    """A finite number as written: integers stay integers, so edges keep the type of their column."""
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = int(value) if _INTEGER.fullmatch(value) else float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise mistake("must be a number")
    if isinstance(value, float) and not abs(value) < float("inf"):
        raise mistake("must be a finite number")
    return value


def _threshold(value: Any) -> float:
    """A number, or for `freshness` a duration, which becomes seconds."""
    if isinstance(value, str) and not _NUMBER.fullmatch(value):
        try:
            return parse_duration(value).total_seconds()
        except InputError:
            raise mistake("must be a number, or for freshness a duration such as 6h") from None
    number = _number(value)
    if abs(number) > 1e300:
        raise mistake("must be a finite number")
    return float(number)


Text = Annotated[str, AfterValidator(_text)]
Name = Annotated[str, AfterValidator(_name)]
Label = Annotated[str, AfterValidator(_free_label)]
AnnotationName = Annotated[str, AfterValidator(_label)]
CronText = Annotated[str, AfterValidator(lambda value: " ".join(_text(value).split()))]
FileName = Annotated[Path, BeforeValidator(lambda value: value if isinstance(value, Path) else _text(_string(value)))]
MailAddress = Annotated[str, AfterValidator(_mail_address)]
Smarthost = Annotated[str, AfterValidator(_smarthost)]
PageUrl = Annotated[str, AfterValidator(_page_url)]

Number = Annotated[int | float, BeforeValidator(_number)]
Threshold = Annotated[float, BeforeValidator(_threshold)]
Duration = Annotated[
    timedelta, BeforeValidator(_duration), AfterValidator(_whole_seconds), PlainSerializer(format_duration)
]
PositiveDuration = Annotated[Duration, AfterValidator(_positive)]
Moment = Annotated[datetime, BeforeValidator(_moment), PlainSerializer(rfc3339)]
Zone = Annotated[ZoneInfo, BeforeValidator(_zone), PlainSerializer(lambda zone: zone.key)]

Secret = Annotated[SecretStr, PlainSerializer(lambda _: "<secret>")]
DatabaseUrl = Annotated[Secret, AfterValidator(_database_url)]
WebUrl = Annotated[Secret, AfterValidator(_web_url)]
WebUrls = Annotated[
    tuple[WebUrl, ...],
    Field(min_length=1, max_length=20),
    WrapValidator(_Lines("must hold an http:// or https:// URL a line")),
]
AppriseUrls = Annotated[
    tuple[Annotated[Secret, AfterValidator(_apprise_url)], ...],
    Field(min_length=1, max_length=20),
    WrapValidator(_Lines("must hold an address a line")),
]
