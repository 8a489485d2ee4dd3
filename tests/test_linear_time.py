"""What a client or a database can send costs linear time: eight times the length, at most sixteen times the work.

A value of 45,000 blanks once froze the process until its watchdog ended it.
"""

import contextlib
import time
from collections.abc import Callable
from datetime import UTC

import pytest
from starlette.datastructures import QueryParams

from drift_monitor.alerting.silences import _words
from drift_monitor.core.matching import parse_matcher
from drift_monitor.core.times import clean_label, parse_duration, parse_instant
from drift_monitor.errors import InputError
from drift_monitor.telemetry.logs import Redactor
from drift_monitor.web.api.requests import Query, read_instant

SHORT, LONG = 2500, 20_000
SLOW_SECONDS = 0.02  # for the long text, on a slow core; the square of its length would take seconds
STARTS = ("", "a=", 'a="', "password=", "password='", "://", "://a", "bearer ", "1h", "[")
REPEATED = (
    *(" ", "a", ":", "=", '"', "\\", "1", "@", "-", "[", ".", "é", "\0", "\t\n", "1h", "1:", "a:", "a=", 'a="', "a= x"),
    *(
        "a!~",
        "://",
        "://a:",
        "password ",
        "password=",
        'token="',
        "token='",
        "bearer ",
        "basic a",
        '{"a":',
        "%2B",
        "{}",
    ),
)
redact = Redactor(["s3cret"]).redact
PARSERS: dict[str, Callable[[str], object]] = {
    "matcher": parse_matcher,
    "duration": parse_duration,
    "instant": lambda text: parse_instant(text, UTC),
    "time of the API": read_instant,
    "cursor": lambda text: Query(QueryParams({"cursor": text}), paged=True).moment_and_id(),
    "comment": lambda text: _words("comment", text),
    "label": clean_label,
    "log line": redact,
}


def seconds(parse: Callable[[str], object], text: str) -> float:
    """CPU of the faster of two tries; what is no such text is refused, and by nothing else."""
    tries = []
    for _ in range(2):
        started = time.process_time()
        with contextlib.suppress(InputError):
            parse(text)
        tries.append(time.process_time() - started)
    return min(tries)


@pytest.mark.parametrize("parse", PARSERS.values(), ids=PARSERS)
def test_eight_times_the_length_costs_at_most_sixteen_times_the_work(parse: Callable[[str], object]) -> None:
    slow = []
    for start in STARTS:
        for piece in REPEATED:
            short, long = (start + piece * (length // len(piece)) + "x" for length in (SHORT, LONG))
            taken = seconds(parse, long)
            if taken > SLOW_SECONDS and taken > 16 * seconds(parse, short):
                slow.append((start, piece, taken))
    assert slow == []


def test_a_matcher_that_is_too_long_is_refused_before_it_is_read() -> None:
    with pytest.raises(InputError, match="has 45006 characters, at most 3000 are read"):
        parse_matcher('name="' + " " * 45_000)


@pytest.mark.parametrize("secret", ["p:a:ss", "p@ss", "::", "p%3Ass"])
def test_passwords_with_colons_are_redacted_as_before(secret: str) -> None:
    assert secret not in redact(f"could not reach postgresql://user:{secret}@db.example:5432/shop")
