"""Structured logs on stderr: one line an event, logfmt or JSON, UTC with milliseconds.

Every line has `time`, `level`, `event` (a stable name), `msg` (a sentence) and the path of nouns it is about (source,
monitor, feature, window). Values are escaped, so that a name with a newline or an escape code stays inside its field,
and pass through the `Redactor`, the second net below types that don't print their value: it knows the secret values
of the running configuration and the shapes credentials have in URLs and connection strings. It is not a licence to log
secrets. Nothing here reads the clock: a record carries its own time.

Trouble repeats itself: one warning or error a minute is written of each cause and object, with a count of the rest.

The named steps of an evaluation and of a delivery, told to an observer as they are reached.

The default observer writes a debug line. A test composes the program with another one and stops the process at the
step it wants, which proves what a crash there leaves behind. No setting or variable of the product does that.
"""

import json
import logging
import math
import re
import sys
import threading
import traceback
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import TextIO
from urllib.parse import quote, unquote, urlsplit

from drift_monitor.core.times import escape_unprintable, rfc3339
from drift_monitor.errors import StoreError

DEBUG = logging.DEBUG
INFO = logging.INFO
WARN = logging.WARNING
ERROR = logging.ERROR

LEVELS = {"debug": DEBUG, "info": INFO, "warn": WARN, "error": ERROR}
_LEVEL_NAMES = {number: name for name, number in LEVELS.items()}
_EVENT, _NOUNS = "drift_event", "drift_nouns"
_RESERVED = frozenset({"time", "level", "event", "msg", "error", "stack", "logger"})
# These print full URLs, headers or every statement below the level named.
_CAPPED_LOGGERS = {
    "httpx": WARN,
    "httpcore": WARN,
    "uvicorn": ERROR,
    "asyncio": WARN,
    "apscheduler": ERROR,
    "sqlalchemy": WARN,
    "alembic": WARN,
    "psycopg": WARN,
}
_MAX_VALUE_LENGTH = 4096  # of a field; a statement or a page in an error would make a line nobody can read

_PAUSE_SECONDS = 60.0  # between two lines of one cause and object
_OBJECTS = ("source", "monitor", "feature", "receiver")
_PACED = frozenset({"waiting_for_store"})  # events whose writer keeps a pace of its own
_NUMBERS = re.compile(r"[0-9]+")
_CAUSE_LENGTH = 300  # of a message: what follows are details
_MAX_CAUSES = 1000

SECRET = "<secret>"  # noqa: S105 - what is shown in place of one
MIN_SECRET_LENGTH = 5  # shorter values would blank out ordinary words
# A user's name ends at the first colon: were it to run on, a long line of colons would take the square of its length.
_USERINFO = re.compile(r"(?<=://)[^\s/@:'\"]*:[^\s/'\"]*@")
_ASSIGNMENT = re.compile(
    r"(?i)\b(password|passwd|pwd|secret|token|api[_-]?key|routing[_-]?key)(\"?'?\s*[=:]\s*)(\"[^\"]*\"|'[^']*'|[^\s,;&]+)"
)
_AUTHORIZATION = re.compile(r"(?i)\b(basic|bearer)\s+[A-Za-z0-9._~+/=-]{8,}")


class Redactor:
    """Replaces known secret values and credential shapes; safe to share between threads."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._pattern: re.Pattern[str] | None = None
        self.learn(secrets)

    def learn(self, secrets: Iterable[str]) -> None:
        """Replace the known values, also in their percent-encoded forms (at start and after each reload)."""
        written = {
            form for secret in secrets for form in (secret, quote(secret, safe=""), quote(secret), unquote(secret))
        }
        forms = [form for form in written if len(form) >= MIN_SECRET_LENGTH]
        # The longest first: a secret may begin with another one, and the rest of it must not stay.
        longest_first = sorted(forms, key=lambda form: (-len(form), form))
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if forms else None

    def redact(self, text: str) -> str:
        if self._pattern is not None:
            text = self._pattern.sub(SECRET, text)
        text = _USERINFO.sub(f"{SECRET}@", text)
        text = _ASSIGNMENT.sub(rf"\1\2{SECRET}", text)
        return _AUTHORIZATION.sub(rf"\1 {SECRET}", text)


def origin(url: str) -> str:
    """`scheme://host[:port]` of a URL: all that may be shown, since path, query and user can be the credential."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return SECRET
    if not parts.scheme or not host:
        return SECRET
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}" + (f":{port}" if port is not None else "")


class Repetitions(logging.Filter):
    """Lets one warning or error a minute pass for each cause and object."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._told: OrderedDict[tuple[object, ...], list[float]] = OrderedDict()  # when last, and how many since

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < WARN or getattr(record, _EVENT, "") in _PACED:
            return True
        nouns = getattr(record, _NOUNS, {})
        cause = _NUMBERS.sub("#", record.getMessage()[:_CAUSE_LENGTH])
        key = (record.levelno, record.name, getattr(record, _EVENT, ""), cause, *(nouns.get(name) for name in _OBJECTS))
        with self._lock:
            told = self._told.setdefault(key, [-math.inf, 0])
            if 0 <= record.created - told[0] < _PAUSE_SECONDS:
                told[1] += 1
                return False
            if told[1]:
                setattr(record, _NOUNS, {**nouns, "repeated": int(told[1])})
            told[:] = [record.created, 0]
            self._told.move_to_end(key)
            while len(self._told) > _MAX_CAUSES:
                self._told.popitem(last=False)
        return True


class LogFormat(StrEnum):
    """How a line is written."""

    LOGFMT = "logfmt"
    JSON = "json"


def log(logger: logging.Logger, level: int, event: str, message: str, **nouns: object) -> None:
    """Write one event. `message` is a sentence without values; the values are the nouns; None is left out."""
    if logger.isEnabledFor(level):
        extra = {_EVENT: event, _NOUNS: {key: value for key, value in nouns.items() if value is not None}}
        logger.log(level, "%s", message, extra=extra)


def log_failure(
    logger: logging.Logger, level: int, event: str, message: str, failure: BaseException, **nouns: object
) -> None:
    """Write one event with the exception that caused it, its stack in one escaped field."""
    extra = {_EVENT: event, _NOUNS: {key: value for key, value in nouns.items() if value is not None}}
    logger.log(level, "%s", message, extra=extra, exc_info=(type(failure), failure, failure.__traceback__))


@contextmanager
def apart(logger: logging.Logger, what: str, **nouns: object) -> Iterator[None]:
    """An error of our own with one object is told and ends here, so that its neighbours have their turn.

    Errors of the store are everybody's: they pass.
    """
    try:
        yield
    except StoreError:
        raise
    except Exception as error:  # noqa: BLE001 whatever it is
        log_failure(logger, ERROR, "set_aside", what, error, **nouns)


def configure(
    level: str = "info",
    log_format: LogFormat = LogFormat.LOGFMT,
    *,
    redactor: Redactor | None = None,
    stream: TextIO | None = None,
) -> Redactor:
    """Send every logger of the process to stderr as structured lines; returns the redactor that is in force."""
    redactor = redactor or Redactor()
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(StructuredFormatter(log_format, redactor))
    handler.addFilter(Repetitions())
    root = logging.getLogger()
    for previous in list(root.handlers):
        if isinstance(previous.formatter, StructuredFormatter):
            root.removeHandler(previous)
    root.addHandler(handler)
    root.setLevel(LEVELS[level])
    for name, cap in _CAPPED_LOGGERS.items():
        logging.getLogger(name).setLevel(max(cap, LEVELS[level]))
    logging.captureWarnings(capture=True)
    return redactor


def learn_secrets(secrets: Iterable[str]) -> None:
    """Have every structured line of the process hide these values (at start and after each reload)."""
    known = tuple(secrets)
    for handler in logging.getLogger().handlers:
        if isinstance(handler.formatter, StructuredFormatter):
            handler.formatter.redactor.learn(known)


class StructuredFormatter(logging.Formatter):
    """A record as one line of logfmt or JSON."""

    def __init__(self, log_format: LogFormat, redactor: Redactor) -> None:
        super().__init__()
        self._format = log_format
        self.redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "time": rfc3339(datetime.fromtimestamp(record.created, UTC), "milliseconds"),
            "level": _LEVEL_NAMES.get(record.levelno, record.levelname.lower()),
            "event": getattr(record, _EVENT, "log"),
            "msg": self._value(record.getMessage()),
        }
        if not hasattr(record, _EVENT):
            fields["logger"] = record.name
        for key, value in getattr(record, _NOUNS, {}).items():
            fields[f"{key}_" if key in _RESERVED else key] = self._value(value)
        if record.exc_info and record.exc_info[1] is not None:
            fields["error"] = self._value(f"{record.exc_info[1].__class__.__name__}: {record.exc_info[1]}")
            fields["stack"] = self._value("".join(traceback.format_exception(*record.exc_info)))
        if self._format is LogFormat.JSON:
            # NaN and infinities are not JSON.
            values = {
                key: str(value) if isinstance(value, float) and not math.isfinite(value) else value
                for key, value in fields.items()
            }
            line = json.dumps(values, ensure_ascii=False, allow_nan=False)
            if line.isprintable():
                return line
            return escape_unprintable(json.dumps(values, allow_nan=False))
        return " ".join(f"{key}={_logfmt_value(value)}" for key, value in fields.items())

    def _value(self, value: object) -> object:
        plain = _plain(value)
        if not isinstance(plain, str):
            return plain
        redacted = self.redactor.redact(plain)
        if len(redacted) > _MAX_VALUE_LENGTH:
            redacted = f"{redacted[:_MAX_VALUE_LENGTH]}... ({len(redacted)} characters)"
        return redacted


def _plain(value: object) -> object:
    if isinstance(value, bool | int | float):
        return value
    if isinstance(value, datetime):
        return rfc3339(value) if value.tzinfo else value.isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    return str(value)


def _logfmt_value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    if text and text.isprintable() and not any(character in ' "=\\' for character in text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escape_unprintable(escaped)}"'


_logger = logging.getLogger(__name__)


class Step(StrEnum):
    """Where an evaluation or a delivery stands."""

    PLAN_BEFORE_COMMIT = "plan_before_commit"  # due runs are inserted, not yet committed
    PLAN_AFTER_COMMIT = "plan_after_commit"
    CLAIM_AFTER_COMMIT = "claim_after_commit"  # the run has a lease and a token
    PANES_READ = "panes_read"  # the source answered, nothing is stored
    COMPUTE_DONE = "compute_done"
    FINISH_BEFORE_COMMIT = "finish_before_commit"  # all rows of the Finish transaction written, not committed
    FINISH_AFTER_COMMIT = "finish_after_commit"
    SEND_CLAIMED = "send_claimed"  # the notification has a lease
    SEND_POSTED = "send_posted"  # the receiver answered, the outbox does not know yet
    SEND_SETTLED = "send_settled"


StepObserver = Callable[[Step, str], None]


def log_step(step: Step, path: str) -> None:
    """The default observer: a debug line with the path of nouns, as `monitor/window_end/revision`."""
    log(_logger, DEBUG, "step", "A step was reached.", step=step, path=path)
