"""Calibrations: what a monitor's surprise is judged by, stored with the span of its history under a content hash.

Kept as arrays in one compressed value; the rest of it, which people and views read, is a document. A calibration that
could not be made yet is stored too: it says until when its history reaches, so that it is not tried at each window.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from hashlib import sha256
from typing import Any

import numpy as np
from sqlalchemy import Connection, select

from drift_monitor.core.calibration import Calibration, LengthCalibration
from drift_monitor.core.schedule import Span
from drift_monitor.core.surprise import Fit
from drift_monitor.store.columns import derived_id, insert_new
from drift_monitor.store.schema import calibration

_FIT = ("season", "spreads", "axes", "mean", "shape")


class CalibrationState(StrEnum):
    """Whether a monitor's surprise can be judged."""

    LEARNING = "learning"  # the history is too short yet
    CALIBRATED = "calibrated"


@dataclass(frozen=True, kw_only=True)
class PastHours:
    """Hours of a feature that were left out of a history, or that are a second state of it."""

    feature: str
    series: str
    span: Span
    height: float
    is_state: bool


@dataclass(frozen=True, kw_only=True)
class StoredCalibration:
    """One calibration of a monitor. `definition`: hash of what its history counts. `features`: its series, in order."""

    monitor: str
    definition: str
    state: CalibrationState
    made_at: datetime
    history: Span
    features: Sequence[str]
    incidents: Sequence[PastHours] = ()
    fitted: Calibration | None = None
    stored_as: str | None = None

    @property
    def id(self) -> str:
        """Content hash; when it was made is not part of it."""
        if self.stored_as is not None:  # every window asks for it, and packing takes its time
            return self.stored_as
        content = sha256(_packed(self.fitted) if self.fitted else b"").hexdigest()
        return derived_id("calibration", self.monitor, self.definition, self.history.start, self.history.end, content)

    def is_of(self, definition: str, end: datetime, *, good_for: Mapping[CalibrationState, timedelta]) -> bool:
        """Whether a window that ends then is judged by it: its history lies before, and not too long ago."""
        age = end - self.history.end
        return self.definition == definition and timedelta(0) <= age < good_for[self.state]


def save(connection: Connection, made: StoredCalibration) -> str:
    """Store a calibration; its id."""
    fitted = made.fitted
    lengths = fitted.lengths if fitted else ()
    document = {
        "features": list(made.features),
        "lengths": [
            {name: getattr(known, name) for name in ("length", "days", "usual", "level", "many_usual", "many_level")}
            for known in lengths
        ],
        "incidents": [
            {
                "feature": hours.feature,
                "series": hours.series,
                "from": hours.span.start.isoformat(),
                "to": hours.span.end.isoformat(),
                "height": hours.height,
                "is_state": hours.is_state,
            }
            for hours in made.incidents
        ],
    }
    row = {
        "id": made.id,
        "monitor": made.monitor,
        "definition": made.definition,
        "state": made.state.value,
        "made_at": made.made_at,
        "history_from": made.history.start,
        "history_to": made.history.end,
        "document": document,
        "arrays": _packed(fitted) if fitted else None,
    }
    insert_new(connection, calibration, [row])
    return made.id


def latest(connection: Connection, monitor: str, before: datetime | None = None) -> StoredCalibration | None:
    """The calibration with the newest history, or of those whose history ends by then."""
    statement = select(calibration).where(calibration.c.monitor == monitor)
    if before is not None:
        statement = statement.where(calibration.c.history_to <= before)
    newest = statement.order_by(calibration.c.history_to.desc(), calibration.c.made_at.desc()).limit(1)
    row = connection.execute(newest).first()
    return None if row is None else _from_row(row._mapping)


def states(connection: Connection) -> Mapping[str, tuple[CalibrationState, Span]]:
    """The state of each monitor's newest calibration, and the span of its history."""
    c = calibration.c
    rows = connection.execute(
        select(c.monitor, c.state, c.history_from, c.history_to).order_by(c.history_to, c.made_at)
    )
    return {row.monitor: (CalibrationState(row.state), Span(row.history_from, row.history_to)) for row in rows}


def _from_row(row: Mapping[Any, Any]) -> StoredCalibration:
    document = row["document"]
    return StoredCalibration(
        monitor=row["monitor"],
        definition=row["definition"],
        state=CalibrationState(row["state"]),
        made_at=row["made_at"],
        history=Span(row["history_from"], row["history_to"]),
        features=tuple(document["features"]),
        incidents=tuple(
            PastHours(
                feature=hours["feature"],
                series=hours["series"],
                span=Span(datetime.fromisoformat(hours["from"]), datetime.fromisoformat(hours["to"])),
                height=hours["height"],
                is_state=hours["is_state"],
            )
            for hours in document["incidents"]
        ),
        stored_as=row["id"],
        fitted=None if row["arrays"] is None else _unpacked(row["arrays"], _Levels.of(document["lengths"])),
    )


@dataclass(frozen=True)
class _Levels:
    """The numbers of each length, as a key by which arrays are unpacked once."""

    each: tuple[tuple[tuple[str, float], ...], ...]

    @classmethod
    def of(cls, lengths: Sequence[Mapping[str, float]]) -> "_Levels":
        return cls(tuple(tuple(length.items()) for length in lengths))


def _packed(fitted: Calibration) -> bytes:
    """The arrays under names like `24.1.axes`: of windows of 24 hours, the second kind of series."""
    arrays = {
        f"{known.length}.{kind}.{name}": getattr(each, name)
        for known in fitted.lengths
        for kind, each in enumerate(known.fits)
        for name in _FIT
    }
    for kind, (reference, bins) in enumerate(zip(fitted.references, fitted.bins, strict=True)):
        arrays |= {f"{kind}.reference": reference, f"{kind}.bins": bins}
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, **arrays)
    return file.getvalue()


@lru_cache(maxsize=64)  # every window of a week asks for the same one
def _unpacked(packed: bytes, levels: _Levels) -> Calibration:
    with np.load(io.BytesIO(packed), allow_pickle=False) as arrays:
        kinds = sum(name.endswith(".bins") for name in arrays.files)
        lengths = [dict(each) for each in levels.each]
        return Calibration(
            lengths=[
                LengthCalibration(
                    length=int(length["length"]),
                    **{name: length[name] for name in ("days", "usual", "level", "many_usual", "many_level")},
                    fits=[
                        Fit(**{name: arrays[f"{int(length['length'])}.{kind}.{name}"] for name in _FIT})
                        for kind in range(kinds)
                    ],
                )
                for length in lengths
            ],
            references=[arrays[f"{kind}.reference"] for kind in range(kinds)],
            bins=[arrays[f"{kind}.bins"] for kind in range(kinds)],
            incidents=(),
            left_out=(),
        )
