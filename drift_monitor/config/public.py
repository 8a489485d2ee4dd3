"""Values as they could be written in a configuration, and the hash of such a document.

Defaults and empty keys are spelled out or left out always in the same way, so equal configurations have equal
documents and equal hashes. A secret is "<secret>".
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from drift_monitor.core.binning import Binning, Edges, Quantiles, Top, Uniform
from drift_monitor.core.rules import Rule
from drift_monitor.core.times import format_duration

SECRET = "<secret>"  # noqa: S105 - what stands in a secret's place


def content_hash(document: Mapping[str, Any]) -> str:
    """32 hex digits over the canonical JSON of a document."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:32]


def given(**keys: Any) -> dict[str, Any]:
    """The keys that have a value; a trailing underscore, as in `for_`, is dropped."""
    return {key.rstrip("_"): value for key, value in keys.items() if value is not None}


def duration(value: timedelta) -> str:
    return format_duration(value)


def bins(binning: Binning) -> dict[str, Any]:
    match binning:
        case Quantiles(count):
            return {"quantiles": count}
        case Uniform(count):
            return {"uniform": count}
        case Top(count):
            return {"top": count}
        case Edges(edges):
            return {"edges": [edge if isinstance(edge, int | float) else str(edge) for edge in edges]}


def rule(value: Rule) -> dict[str, Any]:
    return given(
        name=value.id,
        metric=value.metric.value,
        above=value.above,
        below=value.below,
        on=value.on.value if value.metric.is_divergence else None,
        for_=value.for_windows,
        keep_firing_for=value.keep_firing_for,
        severity=value.severity.value,
    )
