"""How well alarms keep a budget, and what they notice: a simulated fleet through the pure core, seeded and resumable.

python -m benchmarks.judgement                 everything, 200 runs a cell: an hour or two
python -m benchmarks.judgement --runs 20       sooner, and less sure
python -m benchmarks.judgement --file F        keeps each run there; a second start goes on where the first one ended

Each run is one fleet (`benchmarks.fleet`): it is calibrated on 28 days, with or without old incidents in them, then
judged on the 28 days after, without drift for the false alarms, and once more for each drift in one of its features.
0.93 false episodes are asked for in 28 days. An episode ends where an alert would: see `core.rules`.
"""

import argparse
import json
import os
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the runs share the processors; threads of one would only wait

import numpy as np

from benchmarks.fleet import FEATURES, HOURS, REGIMES, Array, Random, counts, drift, probabilities, rows
from drift_monitor.core.alerting import INACTIVE, Change, advance
from drift_monitor.core.calibration import Calibration, Surprises, calibrate
from drift_monitor.core.cleaning import PastIncident
from drift_monitor.core.distribution import Smoothing, smooth
from drift_monitor.core.divergence import DIVERGENCES, Estimate, Metric
from drift_monitor.core.noise import null_moments
from drift_monitor.core.rules import SURPRISE_ENDS, SURPRISE_LEVEL, Measured, MeasurementStatus, Rule, judge
from drift_monitor.core.surprise import PaneHistory

ASKED = 0.93  # false episodes in the days of the test
START = 24.0 * 20_000
_FIRST = datetime(2024, 1, 1, tzinfo=UTC)
RULE = Rule(id="surprise", metric=Metric.SURPRISE, above=SURPRISE_LEVEL, keep_firing_for=5, ends_at=SURPRISE_ENDS)
DRIFTS = (("shift", 0.01), ("shift", 0.04), ("spike", 0.04), ("loss", 0.04), ("shift", 0.15))
_DRIFT_NAMES = tuple(f"{kind} {nats}" for kind, nats in DRIFTS)
HISTORIES = ("clean", "one incident", "two incidents", "a step", "an incident in all features")
DIRTY = ("independent, 1,000", "mild wobble", "season, 1,000", "strong season")
SHAPES = {
    "sixteen quantiles and tails": [0.001, 0.009, *[0.98 / 16] * 16, 0.009, 0.001],
    "Zipf, 30 labels": [1 / rank for rank in range(1, 31)],
    "95 % zeros": [0.95, *[0.005] * 10],
}


def history(found: Array, start: float = START) -> PaneHistory:
    """Panes that are their own reference."""
    return PaneHistory(
        start=start,
        counts=found,
        reference=found.sum(axis=1),
        bins=np.full(len(found), float(found.shape[-1])),
        is_reference=np.ones(found.shape[1], dtype=np.bool_),
        left_out=np.zeros(found.shape[:2], dtype=np.bool_),
    )


def spoiled(random: Random, kind: str, shares: Array, rows_of: Any, found: Array) -> tuple[Array, Sequence[int]]:
    """A history with old incidents, and the features that have one."""
    hours, features = found.shape[1], range(len(found))
    found = found.copy()

    def happen(feature: int, first: int, last: int, nats: float, what: str) -> None:
        change = drift(random, shares[feature, :hours].mean(axis=0), what, nats)
        found[feature, first:last] = random.multinomial(rows_of[first:last], change(shares[feature, first:last]))

    first = int(random.integers(24, hours - 60))
    match kind:
        case "one incident" | "two incidents":
            chosen = [int(random.integers(len(features))) for _ in range(1 if kind == "one incident" else 2)]
            for feature in chosen:
                begins = int(random.integers(24, hours - 60))
                happen(feature, begins, begins + 36, 0.3, str(random.choice(["shift", "spike"])))
        case "a step":  # and back again before the test begins
            chosen = [int(random.integers(len(features)))]
            happen(chosen[0], hours - 150, hours - 30, 0.1, "shift")
        case "an incident in all features":
            chosen = list(features)
            for feature in chosen:
                happen(feature, first, first + 36, 0.1, "shift")
        case _:
            chosen = []
    return found, chosen


def judged(calibration: Calibration, before: Array, found: Array) -> tuple[Surprises, Surprises]:
    """Of each hour of `found`, (T,), every feature's surprise (S, T) and that of many that move (T,)."""
    longest = max(known.length for known in calibration.lengths)
    whole = np.concatenate([before[:, -longest:], found], axis=1)
    sums = np.concatenate([np.zeros((len(whole), 1, whole.shape[2])), whole.cumsum(axis=1)], axis=1)
    ends = longest + np.arange(1, found.shape[1] + 1)
    windows = {known.length: [sums[:, ends] - sums[:, ends - known.length]] for known in calibration.lengths}
    (features,), many = calibration.judge(windows, START + before.shape[1] - longest + ends.astype(np.float64))
    return features, many


def episodes(surprises: Surprises) -> list[tuple[int, int]]:
    """First and last hour of each episode, by the very rule that a monitor has."""
    state, opened, found = INACTIVE, 0, []
    for hour, (times, over) in enumerate(zip(surprises.times_its_level, surprises.over, strict=True)):
        estimate = Estimate(float(times), corrected=float(over))
        observation = judge(RULE, Measured(MeasurementStatus.OK, {Metric.SURPRISE: estimate}))
        step = advance(state, observation, RULE, _FIRST + timedelta(hours=hour), 0)
        if step.change is Change.FIRED:
            opened = hour
        elif step.change is Change.RESOLVED:
            found.append((opened, hour))
        state = step.state
    return found + ([(opened, len(surprises.over))] if state is not INACTIVE else [])


def run(name: str, past: str, seed: int) -> dict[str, Any]:
    """One fleet of a regime with one kind of past."""
    random, regime = np.random.default_rng([seed, 1]), REGIMES[name]
    shares, rows_of = probabilities(random, regime), rows(random, regime)
    found = counts(random, shares, rows_of)
    before, who = spoiled(np.random.default_rng([seed, 2]), past, shares, rows_of, found[:, :HOURS])
    test = found[:, HOURS:]
    calibration = calibrate([history(before)], episodes_per_hour=ASKED / HOURS)
    each, many = judged(calibration, before, test)
    false = episodes(Surprises.furthest([many, *(each.of(feature) for feature in range(FEATURES))]))
    noticed = {
        f"{kind} {nats}": _notice(
            np.random.default_rng([seed, 3, at]), calibration, shares, rows_of, before, test, kind, nats
        )
        for at, (kind, nats) in enumerate(DRIFTS)
    }
    incidents: Sequence[PastIncident] = calibration.incidents[0]
    return {
        "episodes": len(false),
        "hours": sum(last - first for first, last in false),
        "longest": max((last - first for first, last in false), default=0),
        "named": sum(any(incident.series == feature for incident in incidents) for feature in set(who))
        / max(1, len(set(who))),
        "falsely named": len({incident.series for incident in incidents} - set(who)),
        "noticed": noticed,
    }


def _notice(
    random: Random,
    calibration: Calibration,
    shares: Array,
    rows_of: Any,
    before: Array,
    test: Array,
    kind: str,
    nats: float,
) -> int:
    """Hours from a drift's begin in one feature to its first alarm; a thousand where there is none in a week."""
    feature, begins = int(random.integers(FEATURES)), int(random.integers(24, HOURS - 170))
    change = drift(random, shares[feature, :HOURS].mean(axis=0), kind, nats)
    moved = test[:, : begins + 168].copy()
    span = slice(begins, begins + 168)
    moved[feature, span] = random.multinomial(rows_of[HOURS:][span], change(shares[feature, HOURS:][span]))
    each, _ = judged(calibration, np.concatenate([before, moved[:, :begins]], axis=1), moved[:, begins:])
    alarms = np.nonzero(each.over[feature] > 1.0)[0]
    return int(alarms[0]) if alarms.size else 1000


def floors() -> Iterator[tuple[str, int, Mapping[Metric, float]]]:
    """The noise floor over the simulated mean, for shapes and rows."""
    random = np.random.default_rng(20261127)
    for shape, weights in SHAPES.items():
        shares = np.array(weights) / np.sum(weights)
        for live in (60, 200, 1_000, 20_000):
            pair = smooth(
                random.multinomial(live, shares, 4_000), random.multinomial(20_000, shares, 4_000), Smoothing()
            )
            null = null_moments(pair)
            yield (
                shape,
                live,
                {
                    metric: float(null[metric].mean.mean() / divergence.total(pair).mean())
                    for metric, divergence in DIVERGENCES.items()
                },
            )


def _work(task: tuple[str, str, int]) -> tuple[tuple[str, str, int], dict[str, Any]]:
    return task, run(*task)


def measured(tasks: Sequence[tuple[str, str, int]], kept: Path | None) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """All runs, those in the file included; each that ends is written there."""
    done: dict[tuple[str, str, int], dict[str, Any]] = {}
    if kept is not None and kept.exists():
        for line in kept.read_text().splitlines():
            task, result = json.loads(line)
            done[(task[0], task[1], task[2])] = result
    missing = [task for task in tasks if task not in done]
    with get_context("spawn").Pool(os.cpu_count()) as pool:
        for number, (task, result) in enumerate(pool.imap_unordered(_work, missing), start=1):
            done[task] = result
            print(f"\r{number} of {len(missing)}", end="", file=sys.stderr)
            if kept is not None:
                with kept.open("a") as file:
                    file.write(json.dumps([task, result]) + "\n")
    cells: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for name, past, seed in tasks:
        cells[name, past].append(done[name, past, seed])
    return cells


def main() -> None:
    """Print both tables as Markdown."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.judgement", description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=200, help="fleets a cell")
    parser.add_argument("--file", type=Path, help="keeps the runs")
    given = parser.parse_args()
    cells = [(name, "clean") for name in REGIMES] + [(name, past) for name in DIRTY for past in HISTORIES[1:]]
    results = measured([(*cell, seed) for seed in range(given.runs) for cell in cells], given.file)
    print(f"\nFalse episodes in 28 days without drift, {ASKED} asked; share of drifts noticed within 24 h / 7 days;")
    print(f"{given.runs} runs a row\n")
    _print_row("regime", "history", "episodes", "hours", "longest, median", "old incidents named", *_DRIFT_NAMES)
    _print_row(*["---"] * (6 + len(DRIFTS)))
    for (name, past), found in results.items():
        longest = [result["longest"] for result in found if result["episodes"]]
        named = "" if past == "clean" else f"{_mean(result['named'] for result in found):.2f}"
        noticed = [
            " / ".join(f"{_mean(result['noticed'][change] < limit for result in found):.2f}" for limit in (24, 168))
            for change in _DRIFT_NAMES
        ]
        numbers = (f"{_mean(result[key] for result in found):.2f}" for key in ("episodes", "hours"))
        _print_row(name, past, *numbers, f"{statistics.median(longest) if longest else 0:g} h", named, *noticed)
    print("\nNoise floor over the simulated mean, 20,000 reference rows\n")
    _print_row("shape", "live rows", *(metric.label for metric in DIVERGENCES))
    _print_row(*["---"] * (2 + len(DIVERGENCES)))
    for shape, live, ratios in floors():
        _print_row(shape, f"{live:,}", *(f"{ratio:.3f}" for ratio in ratios.values()))


def _mean(values: Iterable[float]) -> float:
    return statistics.mean(float(value) for value in values)


def _print_row(*cells: str) -> None:
    print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
