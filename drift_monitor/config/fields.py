"""The kinds of value a key can hold, as pydantic types that say what they expect.

Text stays text and numbers stay numbers: `name: 5` is a mistake, not the name "5". Where a value comes from an
environment variable it arrives as text, so number fields read text too.

Addresses of Apprise, asked of Apprise itself: which schemes there are is its knowledge, and it is an extra.

Its logger quotes the addresses it refuses, and these are secrets: it says nothing while it is asked, and nothing
below `critical` afterwards.
"""

import importlib
import importlib.util
import logging
import re
from datetime import timedelta
from email.utils import formataddr, parseaddr
from typing import Annotated, Any
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, BeforeValidator, SecretStr
from pydantic_core import PydanticCustomError

from drift_monitor.config.outbound import mistake_in
from drift_monitor.core.times import A_DURATION, parse_duration
from drift_monitor.errors import InputError

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,127}")
_LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NUMBER = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_DIALECT = re.compile(r"(?P<dialect>[A-Za-z][A-Za-z0-9_]*)(?:\+(?P<driver>[A-Za-z0-9_]+))?://.*", re.DOTALL)
RESERVED_LABELS = frozenset({"alertname", "monitor", "feature", "segment", "metric", "severity"})
DIALECTS = ("sqlite", "postgresql")
DRIVERS = {"sqlite": (None, "pysqlite"), "postgresql": (None, "psycopg")}


def mistake(message: str, hint: str = "") -> PydanticCustomError:
    """An error of our own for a validator to raise; `report` prints message, value found and hint."""
    return PydanticCustomError("mistake", "{message}", {"message": message, "hint": hint})


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


def _positive(value: timedelta) -> timedelta:
    if value < timedelta(seconds=1):
        raise mistake("must be at least 1s")
    return value


def _whole_seconds(value: timedelta) -> timedelta:
    if value % timedelta(seconds=1):
        raise mistake("must be whole seconds")
    return value


def _name(value: str) -> str:
    if _NAME.fullmatch(value) is None:
        raise mistake("must be a name of letters, digits, '_', '-', '.' and ':', at most 128 of them")
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


def check_database_url(value: SecretStr) -> SecretStr:
    """A URL of a dialect we support; messages never show more of it than dialect and driver."""
    match = _DIALECT.fullmatch(value.get_secret_value())
    if match is None:
        raise mistake("must be a database URL such as sqlite:///data.db or postgresql+psycopg://user@host/database")
    dialect, driver = match["dialect"], match["driver"]
    supported = " and ".join(DIALECTS)
    if dialect == "postgres":
        raise mistake("the dialect 'postgres' is spelled 'postgresql'")
    if dialect not in DIALECTS:
        raise mistake(f"databases of the dialect {dialect!r} are not supported yet", f"supported now: {supported}")
    if driver not in DRIVERS[dialect]:
        known = DRIVERS[dialect][1]
        raise mistake(f"the driver {driver!r} is not supported", f"write {dialect}:// or {dialect}+{known}://")
    return value


def _page_url(value: str) -> str:
    """The address of a site that people open; what leads to one of its pages is added."""
    if re.fullmatch(r"https?://[^/\s?#@]+(?:/[^\s?#]*)?", value) is None:
        raise mistake("must be an http:// or https:// URL, without '?' and '#'")
    return value


def _destination(value: str) -> str:
    wrong = mistake_in(value)
    if wrong is not None:
        raise mistake(*wrong)
    return value


def check_web_url(value: SecretStr) -> SecretStr:
    """A URL that notifications can be posted to; messages show nothing of it."""
    if re.fullmatch(r"https?://[^/\s?#]+\S*", value.get_secret_value()) is None:
        raise mistake("must be an http:// or https:// URL")
    return value


def check_web_urls(value: SecretStr) -> SecretStr:
    """Such URLs, one a line, as a file holds them."""
    lines = value.get_secret_value().split()
    for line in lines:
        check_web_url(SecretStr(line))
    if not lines:
        raise mistake("must hold an http:// or https:// URL a line")
    return value


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
    match = re.fullmatch(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+):(?P<port>[0-9]{1,5})", value)
    if match is None or not 0 < int(match["port"]) < 65536:
        raise mistake("must be a host and a port such as mail.example.org:587")
    return value


def _number(value: Any) -> int | float:
    """A finite number as written: integers stay integers, so edges keep the type of their column."""
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = int(value) if re.fullmatch(r"[-+]?[0-9]{1,100}", value) else float(value)
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


def _schedule_text(value: str) -> str:
    return " ".join(_text(value).split())


Duration = Annotated[timedelta, BeforeValidator(_duration), AfterValidator(_whole_seconds)]
PositiveDuration = Annotated[Duration, AfterValidator(_positive)]
Name = Annotated[str, AfterValidator(_name)]
Text = Annotated[str, AfterValidator(_text)]
Label = Annotated[str, AfterValidator(_free_label)]
AnnotationName = Annotated[str, AfterValidator(_label)]
Zone = Annotated[ZoneInfo, BeforeValidator(_zone)]
DatabaseUrl = Annotated[SecretStr, AfterValidator(check_database_url)]
MailAddress = Annotated[str, AfterValidator(_mail_address)]
Smarthost = Annotated[str, AfterValidator(_smarthost)]
WebUrl = Annotated[SecretStr, AfterValidator(check_web_url)]
PageUrl = Annotated[str, AfterValidator(_page_url)]
Destination = Annotated[str, AfterValidator(_destination)]
Number = Annotated[int | float, BeforeValidator(_number)]
Threshold = Annotated[float, BeforeValidator(_threshold)]
CronText = Annotated[str, AfterValidator(_schedule_text)]


EXTRA = 'pip install "drift-monitor[apprise]"'


def check_apprise_url(value: SecretStr) -> SecretStr:
    """An address that Apprise can send to; messages show nothing of it."""
    if importlib.util.find_spec("apprise") is None:
        raise mistake("needs an extra that is not installed", EXTRA)
    if _instance(value.get_secret_value()) is None:
        raise mistake("is no address that Apprise knows, or one with something missing", "see its list of services")
    return value


def check_apprise_urls(value: SecretStr) -> SecretStr:
    """Such addresses, one a line, as a file holds them."""
    lines = value.get_secret_value().split()
    for line in lines:
        check_apprise_url(SecretStr(line))
    if not lines:
        raise mistake("must hold an address a line")
    return value


def _instance(url: str) -> object:
    apprise = importlib.import_module("apprise")
    logging.getLogger("apprise").setLevel(logging.CRITICAL)
    return apprise.Apprise.instantiate(url, suppress_exceptions=True)
