"""Moments as text, written and read in one place."""

from datetime import UTC, datetime


def instant(value: datetime) -> str:
    """RFC 3339 in UTC, as short as the moment allows: `2026-03-02T12:00:00Z`."""
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
