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
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from functools import cached_property
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np

from drift_monitor.errors import InputError

Number = int | float | Decimal


_FEWEST_DIGITS, _MOST_DIGITS = 6, 12  # of an edge in a label
_LARGEST_PLAIN = 1e15  # from here on an exponent is read more easily
_LARGEST = float(np.finfo(np.float64).max)
_LARGEST_SINGLE = float(np.finfo(np.float32).max)
_ROOM = 10  # steps of rounding that a bin of one value is wide at most


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
    """One bin as people see it. `lower` and `upper` are None where there is no such bound.

    `edge`: the bound of what lies outside of all edges, written as in the label of its neighbour.
    """

    label: str
    lower: Number | None = None
    upper: Number | None = None
    reserved: Reserved | None = None
    edge: str = ""


class _Spec:
    """What the specs share: constants of the kind, and the hash of what they hold."""

    kind: ClassVar[Kind]

    def to_json(self) -> dict[str, Any]:
        raise NotImplementedError

    @cached_property
    def id(self) -> str:
        # Stored with every count and compared between releases: this text must never change, not by a blank.
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
        return hashlib.sha256(text.encode("ascii")).hexdigest()[:32]


@dataclass(frozen=True)
class NumericBins(_Spec):
    """Half-open bins between strictly increasing, finite edges of one value type.

    Without any edge, as where a reference holds no number, there is one bin for all numbers, beside the reserved ones.
    """

    kind: ClassVar[Kind] = Kind.NUMERIC

    edges: tuple[Number, ...]
    value_type: ValueType

    def __post_init__(self) -> None:
        expected = {ValueType.FLOAT: float, ValueType.INTEGER: int, ValueType.DECIMAL: Decimal}.get(self.value_type)
        if expected is None:
            raise InputError(f"numeric bins can't hold values of type {self.value_type.value}")
        if len(self.edges) == 1:
            raise InputError("numeric bins need at least two edges, got 1")
        for edge in self.edges:
            # Exactly this type: a bool, a numpy number or a subclass would be another text, and so another id.
            if type(edge) is not expected:
                raise InputError(f"edge {edge!r} is no {expected.__name__}, the type of this column's values")
            if edge != edge or edge in (float("inf"), float("-inf")):
                raise InputError(f"edge {edge!r} is not finite")
        for low, high in pairwise(self.edges):
            if not low < high:
                raise InputError(f"edges must increase strictly: {high!r} follows {low!r}")

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
        return (0, len(self.edges)) if self.edges else (0,)

    @cached_property
    def bins(self) -> tuple[Bin, ...]:
        texts = edge_texts(self.edges)
        inner = [
            Bin(_only_value(low, high) or f"[{text}, {next_text})", low, high)
            for (text, next_text), (low, high) in zip(pairwise(texts), pairwise(self.edges), strict=True)
        ]
        outer = [Bin("any number", reserved=Reserved.ABOVE)]
        if self.edges:
            outer = [Bin(Reserved.ABOVE, self.edges[-1], None, Reserved.ABOVE, texts[-1])]
            inner.insert(0, Bin(Reserved.BELOW, None, self.edges[0], Reserved.BELOW, texts[0]))
        return (*inner, *outer, *(Bin(name, reserved=name) for name in (Reserved.INVALID, Reserved.MISSING)))

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind.value,
            "value_type": self.value_type.value,
            "edges": [str(edge) if isinstance(edge, Decimal) else edge for edge in self.edges],
        }


def edge_texts(edges: Sequence[Number]) -> list[str]:
    """Edges as people read them: six digits, or as many as tell neighbours apart, twelve at most."""
    digits = next((few for few in range(_FEWEST_DIGITS, _MOST_DIGITS) if _differ(edges, few)), _MOST_DIGITS)
    return [_edge_text(edge, digits) for edge in edges]


def _differ(edges: Sequence[Number], digits: int) -> bool:
    return all(_edge_text(low, digits) != _edge_text(high, digits) for low, high in pairwise(edges))


def _edge_text(edge: Number, digits: int) -> str:
    if isinstance(edge, int):
        return str(edge)
    text = f"{edge:.{digits}g}"
    is_plain = "e+" in text and -_LARGEST_PLAIN < edge < _LARGEST_PLAIN
    return f"{edge:.0f}" if is_plain else text


def nearest_float(number: Number | Fraction) -> float:
    """The float nearest to a number; decimals and integers may lie beyond all floats, there it is the last one."""
    try:
        nearest = float(number)
    except OverflowError:
        nearest = math.inf if number > 0 else -math.inf
    return min(max(nearest, -_LARGEST), _LARGEST)


def _only_value(low: Number, high: Number) -> str:
    """The value of a bin that holds only one, to rounding in 64 or 32 bits; empty where it holds more."""
    first, last = Fraction(low), Fraction(high)
    if isinstance(low, int):
        return str(low) if last == first + 1 else ""
    width, middle = last - first, nearest_float((first + last) / 2)
    step = Fraction(math.ulp(max(abs(nearest_float(low)), abs(nearest_float(high)))))
    rounded = abs(middle) < _LARGEST_SINGLE and middle == float(np.float32(middle))
    if width > _ROOM * (max(step * 2**29, Fraction(1, 2**149)) if rounded else step):
        return ""
    value = low if isinstance(low, Decimal) or not low else middle
    texts = (_edge_text(value, digits) for digits in range(1, _MOST_DIGITS + 1))
    return next((text for text in texts if first <= Fraction(text) < last), _edge_text(value, _MOST_DIGITS))


@dataclass(frozen=True)
class CategoricalBins(_Spec):
    """One bin a top label, in the order given; `rare` and `unseen` keep the other labels apart.

    `rare_labels` are labels the reference held beyond the top ones. Where the reference had more of them than can be
    remembered, `rare_complete` is False and every label that is not known counts as `rare`; `unseen` stays empty.
    """

    kind: ClassVar[Kind] = Kind.CATEGORICAL
    value_type: ClassVar[ValueType] = ValueType.TEXT

    labels: tuple[str, ...]
    rare_labels: tuple[str, ...] = ()
    rare_complete: bool = True

    def __post_init__(self) -> None:
        if len(set(self.labels) | set(self.rare_labels)) != len(self.labels) + len(self.rare_labels):
            raise InputError("category labels must be distinct: the same label was given twice")

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
        reserved = (Reserved.RARE, Reserved.UNSEEN, Reserved.MISSING)
        return (*(Bin(label) for label in self.labels), *(Bin(name, reserved=name) for name in reserved))

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
class BooleanBins(_Spec):
    """Two values, and whatever else the column may hold."""

    kind: ClassVar[Kind] = Kind.BOOLEAN
    value_type: ClassVar[ValueType] = ValueType.BOOLEAN
    bins: ClassVar[tuple[Bin, ...]] = (
        Bin("false"),
        Bin("true"),
        Bin(Reserved.INVALID, reserved=Reserved.INVALID),
        Bin(Reserved.MISSING, reserved=Reserved.MISSING),
    )
    size: ClassVar[int] = len(bins)
    invalid: ClassVar[int] = 2
    missing: ClassVar[int] = 3
    unknown: ClassVar[tuple[int, ...]] = ()

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind.value, "value_type": self.value_type.value}


BinSpec = NumericBins | CategoricalBins | BooleanBins


def spec_from_json(document: Mapping[str, Any]) -> BinSpec:
    """The spec that `to_json` described; raises InputError on an unknown kind."""
    match document.get("kind"):
        case Kind.NUMERIC:
            value_type = ValueType(document["value_type"])
            # JSON has one kind of number, and text for decimals: the column's type says which they were.
            number = {ValueType.DECIMAL: Decimal, ValueType.INTEGER: int}.get(value_type, float)
            return NumericBins(tuple(number(edge) for edge in document["edges"]), value_type)
        case Kind.CATEGORICAL:
            labels, rare = tuple(document["labels"]), tuple(document["rare_labels"])
            return CategoricalBins(labels, rare, bool(document["rare_complete"]))
        case Kind.BOOLEAN:
            return BooleanBins()
        case other:
            raise InputError(f"bin spec of unknown kind {other!r}; expected one of {', '.join(Kind)}")
