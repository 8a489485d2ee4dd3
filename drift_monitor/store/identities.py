"""Derived ids: the same facts give the same id on every replica and after every restore, so receivers can tell."""

import json
from datetime import datetime
from uuid import UUID, uuid5

from drift_monitor.store.columns import instant_text

NAMESPACE = UUID("5a4f9f0e-6a57-5b0f-9d0b-2f8d5f0c7a11")


def derived_id(*parts: str | int | datetime) -> str:
    """uuid5 over the JSON array of the parts; joined text would confuse ("a", "bc") with ("ab", "c")."""
    values = [instant_text(part) if isinstance(part, datetime) else part for part in parts]
    return str(uuid5(NAMESPACE, json.dumps(values, ensure_ascii=True, separators=(",", ":"))))


def run_id(monitor: str, window_end: datetime, revision: int) -> str:
    """The id of an evaluation."""
    return derived_id("run", monitor, window_end, revision)


def episode_id(monitor: str, feature: str, segment: str, rule: str, *, opened: datetime, revision: int) -> str:
    """The id of the episode that this alert opened with this window and revision."""
    return derived_id("episode", monitor, feature, segment, rule, opened, revision)
