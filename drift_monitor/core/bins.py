"""How the values of a feature are counted: bin specs with a content hash.

A spec is either numeric edges or a list of category labels, plus reserved bins, so that every row of a table falls
into exactly one bin and the bins of any feature add up to the row count. The order of the bins is part of the
contract: stored count arrays, SQL and numpy share it.

    numeric      below | [e0, e1) ... [eK-1, eK) | above | invalid | missing
    categorical  label 0 ... label L-1 | rare | unseen | missing
    boolean      false | true | invalid | missing

Numeric bins are half-open: a value on an edge belongs to the bin that starts there, and a value equal to the last
edge is `above`. `below` and `above` hold -inf and +inf; `invalid` holds NaN and values that are no number;
`missing` holds NULL. The numeric order is that of `numpy.searchsorted(edges, x, side="right")` and of PostgreSQL's
`width_bucket(x, edges)`.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from functools import cached_property
from itertools import pairwise
from typing import Any

from drift_monitor.errors import InputError

Number = int | float | Decimal


class ValueType(StrEnum):
    """What a feature's values are; edges keep this type in every database."""

    FLOAT = "float"
    INTEGER = "integer"
    DECIMAL = "decimal"
    TEXT = "text"
    BOOLEAN = "boolean"


class Kind(StrEnum):
    """How a feature is binned."""

    NUMERIC = "numeric"
    CATEGORICAL = "categorical"
    BOOLEAN = "boolean"


class Reserved(StrEnum):
    """Bins every spec of their kind has, besides its edges or labels."""

    BELOW = "below"
    ABOVE = "above"
    INVALID = "invalid"
    MISSING = "missing"
    RARE = "rare"
    UNSEEN = "unseen"


@dataclass(frozen=True)
class Bin:
    """One bin as people see it. `lower` and `upper` are None where there is no such bound."""

    label: str
    lower: Number | None = None
    upper: Number | None = None
    reserved: Reserved | None = None


@dataclass(frozen=True)
class NumericBins:
    """Half-open bins between strictly increasing, finite edges of one value type."""

    edges: tuple[Number, ...]
    value_type: ValueType

    def __post_init__(self) -> None:
        _check_edges(self.edges, self.value_type)

    @property
    def kind(self) -> Kind:
        return Kind.NUMERIC

    @property
    def size(self) -> int:
        """Number of bins, reserved ones included."""
        return len(self.edges) + 3

    @property
    def missing(self) -> int:
        return len(self.edges) + 2

    @property
    def invalid(self) -> int:
        return len(self.edges) + 1

    @property
    def unknown(self) -> tuple[int, ...]:
        """Ordinals that count as unseen: values outside everything the reference held."""
        return (0, len(self.edges))

    @cached_property
    def bins(self) -> tuple[Bin, ...]:
        inner = (
            Bin(_interval(low, high, self.value_type), low, high)
            for low, high in zip(self.edges[:-1], self.edges[1:], strict=True)
        )
        return (
            Bin(Reserved.BELOW, None, self.edges[0], Reserved.BELOW),
            *inner,
            Bin(Reserved.ABOVE, self.edges[-1], None, Reserved.ABOVE),
            Bin(Reserved.INVALID, reserved=Reserved.INVALID),
            Bin(Reserved.MISSING, reserved=Reserved.MISSING),
        )

    @cached_property
    def id(self) -> str:
        return _content_hash(self.to_json())

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind.value,
            "value_type": self.value_type.value,
            "edges": [_number_to_json(edge) for edge in self.edges],
        }


@dataclass(frozen=True)
class CategoricalBins:
    """One bin a top label, in the order given; `rare` and `unseen` keep the other labels apart.

    `rare_labels` are labels the reference held beyond the top ones. Where the reference had more of them than can be
    remembered, `rare_complete` is False and every label that is not known counts as `rare`; `unseen` stays empty.
    """

    labels: tuple[str, ...]
    rare_labels: tuple[str, ...] = ()
    rare_complete: bool = True

    def __post_init__(self) -> None:
        if len(set(self.labels) | set(self.rare_labels)) != len(self.labels) + len(self.rare_labels):
            raise InputError("category labels must be distinct: the same label was given twice")

    @property
    def kind(self) -> Kind:
        return Kind.CATEGORICAL

    @property
    def value_type(self) -> ValueType:
        return ValueType.TEXT

    @property
    def size(self) -> int:
        return len(self.labels) + 3

    @property
    def rare(self) -> int:
        return len(self.labels)

    @property
    def unseen(self) -> int:
        return len(self.labels) + 1

    @property
    def missing(self) -> int:
        return len(self.labels) + 2

    @property
    def unknown(self) -> tuple[int, ...]:
        return (self.unseen,)

    @cached_property
    def bins(self) -> tuple[Bin, ...]:
        return (
            *(Bin(label) for label in self.labels),
            *(Bin(name, reserved=name) for name in (Reserved.RARE, Reserved.UNSEEN, Reserved.MISSING)),
        )

    @cached_property
    def id(self) -> str:
        return _content_hash(self.to_json())

    @cached_property
    def ordinals(self) -> Mapping[str, int]:
        """Label to ordinal, for the labels that are known."""
        rare = dict.fromkeys(self.rare_labels, self.rare)
        return rare | {label: ordinal for ordinal, label in enumerate(self.labels)}

    def ordinal(self, label: str | None) -> int:
        """The bin of one value; None is missing."""
        if label is None:
            return self.missing
        return self.ordinals.get(label, self.unseen if self.rare_complete else self.rare)

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind.value,
            "value_type": self.value_type.value,
            "labels": list(self.labels),
            "rare_labels": list(self.rare_labels),
            "rare_complete": self.rare_complete,
        }


@dataclass(frozen=True)
class BooleanBins:
    """Two values, and whatever else the column may hold."""

    @property
    def kind(self) -> Kind:
        return Kind.BOOLEAN

    @property
    def value_type(self) -> ValueType:
        return ValueType.BOOLEAN

    @property
    def size(self) -> int:
        return 4

    @property
    def invalid(self) -> int:
        return 2

    @property
    def missing(self) -> int:
        return 3

    @property
    def unknown(self) -> tuple[int, ...]:
        return ()

    @property
    def bins(self) -> tuple[Bin, ...]:
        return (
            Bin("false"),
            Bin("true"),
            Bin(Reserved.INVALID, reserved=Reserved.INVALID),
            Bin(Reserved.MISSING, reserved=Reserved.MISSING),
        )

    @cached_property
    def id(self) -> str:
        return _content_hash(self.to_json())

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind.value, "value_type": self.value_type.value}


BinSpec = NumericBins | CategoricalBins | BooleanBins


def spec_from_json(document: Mapping[str, Any]) -> BinSpec:
    """The spec that `to_json` described; raises InputError on an unknown kind."""
    match document.get("kind"):
        case Kind.NUMERIC:
            value_type = ValueType(document["value_type"])
            edges = tuple(_number_from_json(edge, value_type) for edge in document["edges"])
            return NumericBins(edges, value_type)
        case Kind.CATEGORICAL:
            return CategoricalBins(
                tuple(document["labels"]), tuple(document["rare_labels"]), bool(document["rare_complete"])
            )
        case Kind.BOOLEAN:
            return BooleanBins()
        case other:
            raise InputError(f"bin spec of unknown kind {other!r}; expected one of {', '.join(Kind)}")


def _check_edges(edges: Sequence[Number], value_type: ValueType) -> None:
    expected = {ValueType.FLOAT: float, ValueType.INTEGER: int, ValueType.DECIMAL: Decimal}.get(value_type)
    if expected is None:
        raise InputError(f"numeric bins can't hold values of type {value_type.value}")
    if len(edges) < 2:
        raise InputError(f"numeric bins need at least two edges, got {len(edges)}")
    for edge in edges:
        if type(edge) is not expected:
            raise InputError(f"edge {edge!r} is no {expected.__name__}, the type of this column's values")
        if edge != edge or edge in (float("inf"), float("-inf")):
            raise InputError(f"edge {edge!r} is not finite")
    for low, high in pairwise(edges):
        if not low < high:
            raise InputError(f"edges must increase strictly: {high!r} follows {low!r}")


def _content_hash(document: Mapping[str, Any]) -> str:
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:32]


def _number_to_json(number: Number) -> int | float | str:
    return str(number) if isinstance(number, Decimal) else number


def _number_from_json(number: Any, value_type: ValueType) -> Number:
    if value_type is ValueType.DECIMAL:
        return Decimal(number)
    return int(number) if value_type is ValueType.INTEGER else float(number)


def _interval(low: Number, high: Number, value_type: ValueType) -> str:
    if value_type is ValueType.INTEGER and high - low == 1:  # type: ignore[operator]
        return str(low)
    return f"[{_short(low)}, {_short(high)})"


def _short(number: Number) -> str:
    return f"{number:.6g}" if isinstance(number, float) else str(number)
