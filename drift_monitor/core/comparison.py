"""Compare live with reference: all divergences, their noise and their bins, for one or many features.

`compare_histograms` is what the monitors use, `compare_counts` and `kl_divergence` are for people with arrays in hand.
Features of different sizes are padded to the longest and computed together: a thousand features cost a few
milliseconds.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from drift_monitor.core.distribution import (
    SUM_TOLERANCE,
    Counts,
    FloatArray,
    Histogram,
    Mask,
    Pair,
    Smoothing,
    chosen_smoothing,
    probabilities,
    smooth,
)
from drift_monitor.core.divergence import (
    DIVERGENCES,
    Estimate,
    Metric,
    Values,
    contributions_live_reference,
    contributions_reference_live,
)
from drift_monitor.core.noise import Estimates, FeatureEstimates, estimates
from drift_monitor.errors import InputError

Interval = tuple[float, float]

_MOST_ROWS = 2**63 - 1  # what a 64-bit row count of a database can hold
_BLOCK = 512  # features computed together: enough to be fast, few enough that their arrays stay in the cache
ONE_SIDED = 2.0  # how many times the other KL divergence one must be to speak of new or lost values


class Direction(StrEnum):
    """Which way a feature moved, from both KL divergences."""

    NEW = "new"  # KL(live‖reference) at least twice the other: mass where the reference hardly had any
    LOST = "lost"  # KL(reference‖live) at least twice the other: mass of the reference that has gone
    RESHAPED = "reshaped"  # clear of noise, neither side outweighs the other
    NONE = "none"  # neither divergence is clear of noise


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Comparison(Values):
    """What live and reference counts of one feature say. Divergences in nats; `hellinger` has no unit.

    `estimates` holds each divergence: its value, uncorrected and infinite only without smoothing, its 95 % interval,
    its value without the noise floor, and that floor: its mean without drift. The value is an attribute, too: `psi`.
    `is_uncertain`: a bin has fewer than 5 reference rows, so that floors and upper ends are known badly.
    `contributions` has the keys `live_reference` and `reference_live`: one number a bin given, 0 in dropped bins.
    """

    live_rows: int
    reference_rows: int
    estimates: Mapping[Metric, Estimate]
    is_uncertain: bool
    contributions: Mapping[str, FloatArray]
    direction: Direction

    @property
    def interval(self) -> Mapping[str, Interval | None]:
        """The 95 % interval of each divergence without its noise floor; None where it is infinite."""
        return {
            metric.value: None if estimate.low is None or estimate.high is None else (estimate.low, estimate.high)
            for metric, estimate in self.estimates.items()
        }

    @property
    def corrected(self) -> Mapping[str, float]:
        """Each divergence without its noise floor."""
        return {metric.value: each.corrected for metric, each in self.estimates.items() if each.corrected is not None}

    @property
    def noise_floors(self) -> Mapping[str, float]:
        """What sampling alone gives of each divergence."""
        return {metric.value: each.noise_floor or 0.0 for metric, each in self.estimates.items()}

    @property
    def noise_floor(self) -> float:
        """What sampling alone gives of KL(live‖reference), in nats."""
        return self.noise_floors[Metric.KL_LIVE_REFERENCE]


def compare_histograms(
    pairs: Sequence[tuple[Histogram, Histogram]], smoothing: Smoothing | None = None
) -> list[Comparison]:
    """One comparison a (live, reference) pair, in order; `anchored` with 1/2 unless told otherwise.

    Raises InputError where the two sides have different bin specs, or one of them has no rows.
    """
    for live, reference in pairs:
        if live.spec is not reference.spec and live.spec.id != reference.spec.id:
            raise InputError(f"live and reference are binned differently: {live.spec.id} and {reference.spec.id}")
    return _compare([live.counts for live, _ in pairs], [reference.counts for _, reference in pairs], smoothing)


def compare_counts(
    *,
    live: ArrayLike,
    reference: ArrayLike,
    smoothing: str | None = None,
    pseudocount: float | None = None,
) -> Comparison:
    """Compare two rows of counts, bins aligned by position.

    `live`, `reference`: K whole numbers each, zero or more, at least one row a side. `smoothing`: `anchored` (the
    default), `additive` or `none`; `pseudocount`: rows added to a bin, by default 0.5 (see `distribution`). Raises
    ValueError (InputError) on anything that is no such row of counts. Formulas, sources: `divergence`, `noise`.
    """
    chosen = chosen_smoothing(smoothing, pseudocount)
    live_counts, reference_counts = _counts(live, "live"), _counts(reference, "reference")
    _same_length(live_counts, reference_counts)
    return _compare([live_counts], [reference_counts], chosen)[0]


def contributions(
    pairs: Sequence[tuple[Sequence[int], Sequence[int]]], smoothing: Smoothing
) -> list[Mapping[str, FloatArray]]:
    """What each bin adds to both KL divergences of these (live, reference) counts, as `Comparison` has it."""
    parts: list[Mapping[str, FloatArray]] = []
    for start in range(0, len(pairs), _BLOCK):
        live, reference = (
            [np.asarray(counts) for counts in side] for side in zip(*pairs[start : start + _BLOCK], strict=True)
        )
        live_counts, reference_counts, present = _padded(live, reference)
        parts += _contributions(smooth(live_counts, reference_counts, smoothing, present), live)
    return parts


def kl_divergence(p: ArrayLike, q: ArrayLike, base: float | None = None) -> float:
    """KL(p‖q) of plain probabilities; nats, or the unit of `base` (2: bits). Infinite where p > 0 = q.

    `p`, `q`: K numbers each, zero or more, summing to 1 within 1e-9 (they are not rescaled). Raises ValueError
    (InputError) on anything else, counts included: smooth those with `compare_counts`. Never negative: see
    `divergence` for the sum it takes.
    """
    if base is not None and not 1 < base < math.inf:
        raise InputError(f"base {base!r} is no base of a logarithm here; it must be above 1: 2 for bits, None for nats")
    live, reference = _probabilities(p, "p"), _probabilities(q, "q")
    _same_length(live, reference)
    nats = float(DIVERGENCES[Metric.KL_LIVE_REFERENCE].total(probabilities(live[None, :], reference[None, :]))[0])
    return nats if base is None else nats / math.log(base)


def _compare(live: Sequence[Counts], reference: Sequence[Counts], smoothing: Smoothing | None) -> list[Comparison]:
    chosen = smoothing or Smoothing()
    blocks = (slice(start, start + _BLOCK) for start in range(0, len(live), _BLOCK))
    return [comparison for block in blocks for comparison in _compare_block(live[block], reference[block], chosen)]


def _compare_block(live: Sequence[Counts], reference: Sequence[Counts], smoothing: Smoothing) -> list[Comparison]:
    live_counts, reference_counts, present = _padded(live, reference)
    pair = smooth(live_counts, reference_counts, smoothing, present)
    estimated = estimates(pair)
    columns = zip(
        live_counts.sum(axis=1).tolist(),
        reference_counts.sum(axis=1).tolist(),
        pair.is_uncertain.tolist(),
        _directions(estimated),
        _contributions(pair, live),
        strict=True,
    )
    return [
        Comparison(
            live_rows=live_rows,
            reference_rows=reference_rows,
            estimates=FeatureEstimates(estimated, at),
            is_uncertain=is_uncertain,
            contributions=contributions,
            direction=direction,
        )
        for at, (live_rows, reference_rows, is_uncertain, direction, contributions) in enumerate(columns)
    ]


def _contributions(pair: Pair, counts: Sequence[Counts]) -> list[Mapping[str, FloatArray]]:
    """A feature each; without what only pads a shorter one."""
    forward, reverse = contributions_live_reference(pair), contributions_reference_live(pair)
    for contributions in (forward, reverse):
        contributions.setflags(write=False)  # features see their row of it
    return [
        {"live_reference": p[: len(row)], "reference_live": q[: len(row)]}
        for p, q, row in zip(forward, reverse, counts, strict=True)
    ]


def _padded(live: Sequence[Counts], reference: Sequence[Counts]) -> tuple[Counts, Counts, Mask | None]:
    """Both as (F, K) with K the longest row; the mask, where rows differ in length, is True where there is a bin."""
    sizes = [len(counts) for counts in live]
    if min(sizes) == max(sizes):
        return np.stack(live), np.stack(reference), None
    present = np.arange(max(sizes)) < np.array(sizes)[:, None]
    padded = np.zeros((2, *present.shape), dtype=np.int64)
    padded[0, present], padded[1, present] = np.concatenate(live), np.concatenate(reference)
    return padded[0], padded[1], present


def _directions(estimated: Mapping[Metric, Estimates]) -> list[Direction]:
    both = estimated[Metric.KL_LIVE_REFERENCE], estimated[Metric.KL_REFERENCE_LIVE]
    forward, reverse = (estimates.value for estimates in both)
    choices = [
        ((both[0].low == 0) & (both[1].low == 0), Direction.NONE),
        (forward == reverse, Direction.RESHAPED),  # both may be infinite
        (forward >= ONE_SIDED * reverse, Direction.NEW),
        (reverse >= ONE_SIDED * forward, Direction.LOST),
    ]
    members = list(Direction)
    codes = np.select(
        [condition for condition, _ in choices],
        [members.index(direction) for _, direction in choices],
        default=members.index(Direction.RESHAPED),
    )
    return [members[code] for code in codes.tolist()]


def _counts(values: ArrayLike, side: str) -> Counts:
    array = _row_of_numbers(values, side, "counts")
    if array.dtype.kind == "f" and not (np.isfinite(array) & (array == np.floor(array))).all():
        raise InputError(f"{side}: counts must be whole numbers of rows; probabilities go to kl_divergence")
    if (array < 0).any():
        raise InputError(f"{side}: counts must be zero or more, found {array.min()}")
    if sum(int(count) for count in array) > _MOST_ROWS:
        raise InputError(f"{side}: the rows must fit 64 bits, these counts add up to {array.sum():g}")
    if not array.any():
        raise InputError(f"{side}: a histogram without rows can't be compared: all counts are 0")
    return array.astype(np.int64)


def _probabilities(values: ArrayLike, name: str) -> FloatArray:
    array = _row_of_numbers(values, name, "probabilities").astype(np.float64)
    if not np.isfinite(array).all() or (array < 0).any():
        raise InputError(f"{name}: probabilities must be finite and zero or more, found {array.tolist()!r}")
    total = math.fsum(array.tolist())
    if abs(total - 1.0) > SUM_TOLERANCE:
        raise InputError(
            f"{name}: probabilities must sum to 1, these sum to {total!r}; for counts of rows use compare_counts"
        )
    return array


def _row_of_numbers(values: ArrayLike, name: str, what: str) -> NDArray[Any]:
    try:
        array = np.asarray(values)
        if array.dtype.kind == "O":
            array = array.astype(np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{name}: {what} must be a list of numbers: {error}") from None
    if array.ndim != 1 or not array.size or array.dtype.kind not in "iuf":
        raise InputError(
            f"{name}: {what} must be a list of numbers, one a bin; found shape {array.shape} of {array.dtype}"
        )
    return array


def _same_length(first: NDArray[Any], second: NDArray[Any]) -> None:
    if first.shape != second.shape:
        raise InputError(f"both sides need the same bins: {first.size} on one side and {second.size} on the other")
