"""Times as people write them."""

from datetime import UTC, datetime, timedelta

import pytest

from drift_monitor.cli.flags import read_instant
from drift_monitor.errors import InputError

NOW = datetime(2026, 11, 20, 12, 30, 15, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("now", NOW),
        ("-7d", NOW - timedelta(days=7)),
        ("-1h30m", NOW - timedelta(minutes=90)),
        ("2026-11-20", datetime(2026, 11, 20, tzinfo=UTC)),
        ("2026-11-20T12:00:00Z", datetime(2026, 11, 20, 12, tzinfo=UTC)),
        ("2026-11-20T12:00:00+02:00", datetime(2026, 11, 20, 10, tzinfo=UTC)),
        ("2026-11-20T12:00", datetime(2026, 11, 20, 12, tzinfo=UTC)),
    ],
)
def test_times_are_read_as_utc_unless_they_say_otherwise(text: str, moment: datetime) -> None:
    assert read_instant(text, NOW) == moment
    assert read_instant(text, NOW).utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    "text", ["", "soon", "-", "-7", "7d", "2026-13-01", "0001-01-01T00:00:00+14:00", "-99y", "3000-01-01"]
)
def test_what_is_no_time_is_refused_in_words(text: str) -> None:
    with pytest.raises(InputError):
        read_instant(text, NOW)
