"""Log lines: one an event, forgery-proof, without secrets."""

import io
import json
import logging
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drift_monitor.telemetry.logs import (
    DEBUG,
    ERROR,
    INFO,
    WARN,
    LogFormat,
    Redactor,
    Repetitions,
    Step,
    configure,
    log,
    log_failure,
    log_step,
)

LOGGER = logging.getLogger("drift_monitor.test")


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)


def written(
    log_format: LogFormat = LogFormat.JSON, level: str = "info", redactor: Redactor | None = None
) -> io.StringIO:
    stream = io.StringIO()
    configure(level, log_format, stream=stream, redactor=redactor)
    return stream


def test_line_has_time_level_event_message_and_nouns_in_that_order() -> None:
    stream = written(LogFormat.LOGFMT)
    log(
        LOGGER,
        INFO,
        "evaluation_finished",
        "An evaluation has finished.",
        monitor="m 1",
        rows=12,
        took=timedelta(seconds=1.5),
        feature=None,
    )
    line = stream.getvalue()
    assert re.fullmatch(
        r"time=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z level=info event=evaluation_finished "
        r'msg="An evaluation has finished\." monitor="m 1" rows=12 took=1\.5\n',
        line,
    )


def test_json_line_has_the_same_fields() -> None:
    stream = written()
    at = datetime(2026, 11, 20, 12, tzinfo=UTC)
    log(LOGGER, WARN, "window_skipped", "A window is skipped.", window_end=at, caught_up=False, ratio=float("nan"))
    entry = json.loads(stream.getvalue())
    entry.pop("time")
    assert entry == {
        "level": "warn",
        "event": "window_skipped",
        "msg": "A window is skipped.",
        "window_end": "2026-11-20T12:00:00Z",
        "caught_up": False,
        "ratio": "nan",
    }


@pytest.mark.parametrize(
    ("level", "names"),
    [("debug", "debug info warn error"), ("info", "info warn error"), ("warn", "warn error"), ("error", "error")],
)
def test_level_lets_through_itself_and_above(level: str, names: str) -> None:
    stream = written(level=level)
    for number in (DEBUG, INFO, WARN, ERROR):
        log(LOGGER, number, "event", "Something happened.")
    assert [json.loads(line)["level"] for line in stream.getvalue().splitlines()] == names.split()


FORGED = 'x\ntime=2026-01-01T00:00:00.000Z level=error msg="forged" \r\x1b[2J\u202e\u2028\x85'


@pytest.mark.parametrize("log_format", LogFormat)
def test_forged_value_stays_in_its_field(log_format: LogFormat) -> None:
    stream = written(log_format)
    log(LOGGER, INFO, "event", "A value.", feature=FORGED)
    text = stream.getvalue()
    assert text.endswith("\n")
    assert text[:-1].isprintable()
    assert text.count("\n") == 1


@given(st.text())
def test_any_value_is_one_printable_line_and_json_gives_it_back(value: str) -> None:
    stream = written(LogFormat.LOGFMT)
    log(LOGGER, INFO, "event", "A value.", feature=value)
    assert stream.getvalue()[:-1].isprintable()
    stream = written(LogFormat.JSON, redactor=Redactor())
    log(LOGGER, INFO, "event", "A value.", feature=value)
    assert stream.getvalue()[:-1].isprintable()
    entry = json.loads(stream.getvalue())
    assert entry["feature"] == Redactor().redact(value)


def test_logfmt_quotes_can_be_read_back() -> None:
    stream = written(LogFormat.LOGFMT)
    log(LOGGER, INFO, "event", "A value.", feature='a "b" \\n c=d', empty="")
    assert stream.getvalue().endswith(' feature="a \\"b\\" \\\\n c=d" empty=""\n')


def test_noun_named_like_a_field_does_not_replace_it() -> None:
    stream = written()
    log(LOGGER, INFO, "event", "A value.", time="never", error="none")
    entry = json.loads(stream.getvalue())
    assert (entry["time_"], entry["error_"]) == ("never", "none")
    assert entry["time"] != "never"


def test_failure_is_one_line_with_its_stack() -> None:
    stream = written()
    try:
        raise ValueError("first line\nsecond line")
    except ValueError as error:
        log_failure(LOGGER, ERROR, "evaluation_failed", "An evaluation failed.", error, monitor="m")
    assert stream.getvalue().count("\n") == 1
    entry = json.loads(stream.getvalue())
    assert entry["error"] == "ValueError: first line\nsecond line"
    assert "test_failure_is_one_line_with_its_stack" in entry["stack"]


def test_lines_of_libraries_take_the_same_form() -> None:
    stream = written(LogFormat.LOGFMT)
    logging.getLogger("some.library").warning("connection to %s lost", "db\n1")
    assert 'level=warn event=log msg="connection to db\\n1 lost" logger=some.library\n' in stream.getvalue()


def test_libraries_that_print_urls_are_silent_even_at_debug() -> None:
    stream = written(level="debug")
    for name in ("httpx", "httpcore.http11", "sqlalchemy.engine"):
        logging.getLogger(name).info("POST https://hooks.example/T0CANARY")
    assert stream.getvalue() == ""


def test_configuring_twice_does_not_write_twice() -> None:
    configure(stream=io.StringIO())
    stream = written()
    log(LOGGER, INFO, "event", "Once.")
    assert stream.getvalue().count("\n") == 1


def test_no_canary_comes_through_in_any_form() -> None:
    canaries = ["s3cr3t/pässword", "T0CANARY1path", "tail+of=secret"]
    for log_format in LogFormat:
        stream = written(log_format, "debug", Redactor(canaries))
        for canary in canaries:
            log(LOGGER, INFO, canary and "event", f"It is {canary}.", url=f"https://x/{canary}", other=canary)
            try:
                raise RuntimeError(f"could not connect with {canary}")
            except RuntimeError as error:
                log_failure(LOGGER, ERROR, "failed", "It failed.", error)
            logging.getLogger("library").error("saw %s", canary)
        text = stream.getvalue() + stream.getvalue().encode().decode("unicode_escape", "replace")
        assert not any(canary in text for canary in canaries)
        assert "<secret>" in text


def test_steps_are_debug_lines_by_default() -> None:
    stream = written(level="debug")
    log_step(Step.PANES_READ, "m/2026-11-20T12:00:00Z/0")
    entry = json.loads(stream.getvalue())
    assert (entry["level"], entry["event"], entry["step"]) == ("debug", "step", "panes_read")
    assert entry["path"] == "m/2026-11-20T12:00:00Z/0"


def lines_of(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def trouble(number: int, at: float, *, level: int = WARN, **nouns: str) -> None:
    """A warning as `log` writes it, at a time of its own."""
    record = LOGGER.makeRecord(LOGGER.name, level, "file", 1, f"Try {number} failed.", (), None)
    record.created = at
    record.drift_event, record.drift_nouns = "trouble", nouns
    LOGGER.handle(record)


def test_one_line_a_minute_of_each_cause_and_object_says_how_many_were_left_out() -> None:
    stream = written()
    for second in range(150):
        trouble(second, 1000.0 + second, monitor="a")
        trouble(second, 1000.0 + second, monitor="b")
    of_a = [line for line in lines_of(stream) if line["monitor"] == "a"]
    assert [line.get("repeated") for line in of_a] == [None, 59, 59]
    assert len(lines_of(stream)) == 6


def test_news_and_other_causes_are_never_left_out() -> None:
    stream = written()
    for second in range(5):
        trouble(second, 1000.0 + second, level=INFO)
        log(LOGGER, WARN, f"event {'x' * second}", "Another cause.")
    assert len(lines_of(stream)) == 10


def test_a_clock_that_is_set_back_silences_nobody() -> None:
    stream = written()
    for at in (5000.0, 1000.0, 1001.0):
        trouble(1, at)
    assert len(lines_of(stream)) == 2


def test_causes_without_end_take_bounded_memory() -> None:
    written()
    repetitions = next(found for found in logging.getLogger().handlers[-1].filters if isinstance(found, Repetitions))
    for number in range(5000):
        trouble(1, 1000.0, monitor=f"m{number}")
    assert len(repetitions._told) <= 1000
