"""Frozen references and bin specs: stored once under the hash of their content, never changed.

The current reference of a feature is the one built last. Rebuilding one with the same outcome makes it current again
and adds no row. Older ones stay as long as measurements point to their bins.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache, lru_cache
from typing import Any

import numpy as np
from sqlalchemy import Connection, Select, bindparam, func, select

from drift_monitor.core.bins import BinSpec, nearest_float, spec_from_json
from drift_monitor.core.schedule import Span
from drift_monitor.store.columns import derived_id, insert_new, upsert
from drift_monitor.store.schema import WHOLE, bin_spec, reference


@dataclass(frozen=True, kw_only=True)
class StoredReference:
    """One feature's frozen reference. `counts` is None where the reference slides and only its bins are frozen.

    `span` is the range it was made from, None for a fixed table; panes inside a current one are never deleted.
    """

    monitor: str
    feature: str
    definition: str
    kind: str
    spec: BinSpec
    counts: tuple[int, ...] | None
    built_at: datetime
    span: Span | None = None
    segment: str

    @property
    def id(self) -> str:
        """Content hash; when it was built is not part of it."""
        span = (self.span.start, self.span.end) if self.span else ()
        return derived_id(
            "reference",
            self.monitor,
            self.feature,
            self.segment,
            self.definition,
            self.kind,
            self.spec.id,
            "sliding" if self.counts is None else json.dumps(self.counts),
            *span,
        )


def save(connection: Connection, references: Sequence[StoredReference]) -> tuple[str, ...]:
    """Freeze references with their bin specs, and make them current; their ids."""
    save_specs(connection, (one.spec for one in references))
    for one in references:
        upsert(
            connection,
            reference,
            {
                "id": one.id,
                "monitor": one.monitor,
                "feature": one.feature,
                "segment": one.segment,
                "definition": one.definition,
                "kind": one.kind,
                "span_start": one.span.start if one.span else None,
                "span_end": one.span.end if one.span else None,
                "bin_spec": one.spec.id,
                "counts": None if one.counts is None else np.array(one.counts, dtype=np.int64),
                "built_at": one.built_at,
            },
        )
    return tuple(one.id for one in references)


def current(connection: Connection, monitor: str) -> dict[str, StoredReference]:
    """The current reference of every feature that has one, in the order of the features' names."""
    rows = connection.execute(_current(), {"of": monitor, "part": WHOLE})
    return {
        row.feature: StoredReference(
            monitor=row.monitor,
            feature=row.feature,
            segment=row.segment,
            definition=row.definition,
            kind=row.kind,
            spec=_spec(row.document),
            counts=None if row.counts is None else tuple(row.counts.tolist()),
            built_at=row.built_at,
            span=Span(row.span_start, row.span_end) if row.span_start is not None else None,
        )
        for row in rows
    }


@cache
def _current() -> Select[Any]:
    place = func.row_number().over(
        partition_by=reference.c.feature, order_by=(reference.c.built_at.desc(), reference.c.id)
    )
    newest = (
        select(reference, place.label("place"))
        .where(reference.c.monitor == bindparam("of"), reference.c.segment == bindparam("part"))
        .subquery()
    )
    return (
        select(newest, bin_spec.c.document)
        .join(bin_spec, bin_spec.c.id == newest.c.bin_spec)
        .where(newest.c.place == 1)
        .order_by(newest.c.feature)
    )


def save_specs(connection: Connection, specs: Iterable[BinSpec]) -> None:
    """Store bin specs that are not stored yet."""
    rows = [
        {
            "id": spec.id,
            "document": json.dumps(spec.to_json(), ensure_ascii=True),
            "bins": [
                {
                    "label": str(one.label),
                    "lower": None if one.lower is None else nearest_float(one.lower),
                    "upper": None if one.upper is None else nearest_float(one.upper),
                }
                for one in spec.bins
            ],
        }
        for spec in {spec.id: spec for spec in specs}.values()
    ]
    insert_new(connection, bin_spec, rows)


def specs(connection: Connection, ids: Iterable[str]) -> dict[str, BinSpec]:
    """Bin specs by id; unknown ids are left out."""
    rows = connection.execute(select(bin_spec.c.id, bin_spec.c.document).where(bin_spec.c.id.in_(set(ids))))
    return {row.id: _spec(row.document) for row in rows}


@lru_cache(maxsize=1024)
def _spec(document: str) -> BinSpec:
    """The spec of a document; every window needs the same few again."""
    return spec_from_json(json.loads(document))
