"""Surprise and levels on simulated fleets whose truth is known: budgets kept, drifts noticed, old incidents found."""

import numpy as np
import pytest

from benchmarks.fleet import BINS, HOURS, REGIMES, counts, drift, probabilities, rows
from drift_monitor.core.calibration import Calibration, budget_level, calibrate, many_move
from drift_monitor.core.cleaning import clusters, search
from drift_monitor.core.distribution import FloatArray
from drift_monitor.core.surprise import PaneHistory, cross_scores, fit, season, tail

START = 24 * 20_000.0
INDEPENDENT, SEASONAL = REGIMES["independent, 1,000"], REGIMES["season, 1,000"]
ASKED = 1.0 / (28 * 24)


def a_history(found: FloatArray, reference: FloatArray | None = None, start: float = START) -> PaneHistory:
    """Of panes that are the reference's own, unless another is given."""
    return PaneHistory(
        start=start,
        counts=found,
        reference=found.sum(axis=1) if reference is None else reference,
        bins=np.full(len(found), float(found.shape[-1])),
        is_reference=np.full(found.shape[1], reference is None),
        left_out=np.zeros(found.shape[:2], dtype=np.bool_),
    )


def simulated(regime=INDEPENDENT, seed=1, features=20):
    """Shares, rows and counts of two months, the first of which is the history."""
    random = np.random.default_rng(seed)
    shares, rows_of = probabilities(random, regime, features=features), rows(random, regime)
    return shares, rows_of, counts(random, shares, rows_of)


def alarms(calibration: Calibration, found: FloatArray, features: slice = slice(None)) -> np.ndarray:
    """Whether any series stands above its level, for each hour of the second month."""
    history = a_history(found[features, HOURS - 24 :], found[:, :HOURS].sum(axis=1)[features], START + HOURS - 24)
    above = np.zeros(HOURS, dtype=np.bool_)
    for known in calibration.lengths:
        windows = history.windows(known.length)
        whole = a_history(found[:, HOURS - 24 :], found[:, :HOURS].sum(axis=1), START + HOURS - 24)
        of_length = [whole.windows(known.length)]
        (surprises,) = known.surprises(of_length, known.residuals(of_length))
        above |= (surprises[features][:, windows.ends > START + HOURS] > known.level).any(axis=0)
    return above


def test_the_tail_is_that_of_the_gamma_distribution_far_beyond_what_floats_hold():
    # chi-squared of 2 degrees of freedom: shape 1, P(R > r) = exp(-r)
    ratios = np.array([0.5, 3.0, 100.0, 5_000.0])
    np.testing.assert_allclose(tail(np.ones(4), ratios), ratios / np.log(10.0), rtol=1e-9)
    # shape 2: P(R > r) = exp(-2r) (1 + 2r)
    expected = (2 * ratios - np.log1p(2 * ratios)) / np.log(10.0)
    np.testing.assert_allclose(tail(np.full(4, 2.0), ratios), expected, rtol=1e-6)


def test_surprises_of_independent_rows_are_close_to_tail_probabilities():
    *_, found = simulated()
    windows = a_history(found[:, :HOURS]).windows(1)
    scores = cross_scores(windows, season(windows.ends, 1, 28))
    # a little more often, for a fit is surer of the windows it has seen
    assert 0.09 <= (scores > 1).mean() <= 0.15
    assert 0.008 <= (scores > 2).mean() <= 0.02


def test_a_season_is_no_surprise():
    """Every hour of a feature that only follows the hour of the day looks like those of the days before."""
    random, hours = np.random.default_rng(3), np.arange(HOURS)
    logs = 0.8 * np.sin(2 * np.pi * hours / 24)[:, None] * np.linspace(-1, 1, BINS)
    shares = np.exp(logs) / np.exp(logs).sum(axis=1, keepdims=True)
    windows = a_history(counts(random, shares[None], np.full(HOURS, 1_000))).windows(1)
    regressors = season(windows.ends, 1, 28)
    known = fit(windows, regressors, windows.usable)
    left = known.residuals(windows, regressors)
    plain = windows.moves - windows.moves.mean(axis=1, keepdims=True)
    assert (left**2).sum() < 0.2 * (plain**2).sum()


def test_weeks_take_part_in_the_season_from_three_weeks_on():
    ends = START + np.arange(1.0, 100)
    assert [season(ends, 1, days).shape[1] for days in (13, 14, 20, 21)] == [1, 7, 7, 14]


@pytest.mark.parametrize("name", ["independent, 1,000", "season, 1,000", "slow wobble"])
def test_a_month_without_drift_has_about_as_many_false_episodes_as_were_asked_for(name):
    episodes = []
    for seed in range(8):
        *_, found = simulated(REGIMES[name], seed)
        above = alarms(calibrate([a_history(found[:, :HOURS])], episodes_per_hour=ASKED), found)
        episodes.append(len(list(clusters(above.astype(float), 0.5, 6))))
    assert np.mean(episodes) <= 2.0


@pytest.mark.parametrize(("regime", "kind", "nats"), [(INDEPENDENT, "shift", 0.01), (SEASONAL, "loss", 0.04)])
def test_a_drift_that_no_threshold_sees_is_noticed_within_a_day(regime, kind, nats):
    shares, rows_of, found = simulated(regime)
    calibration = calibrate([a_history(found[:, :HOURS])], episodes_per_hour=ASKED)
    random, begins = np.random.default_rng(7), HOURS + 200
    noticed = 0
    for feature in range(10):
        change = drift(random, shares[feature, :HOURS].mean(axis=0), kind, nats)
        drifted = found.copy()
        drifted[feature, begins:] = random.multinomial(rows_of[begins:], change(shares[feature, begins:]))
        above = alarms(calibration, drifted, slice(feature, feature + 1))
        noticed += above[begins - HOURS : begins - HOURS + 24].any()
    assert noticed >= 9


@pytest.mark.parametrize("features", [[3], [3, 11], range(20)], ids=["one", "two", "all"])
def test_an_old_incident_is_left_out_and_does_not_raise_the_level(features):
    shares, rows_of, found = simulated(SEASONAL)
    history, random = found[:, :HOURS], np.random.default_rng(5)
    clean = calibrate([a_history(history)], episodes_per_hour=ASKED)
    first, last = 300, 336
    spoiled = history.copy()
    for feature in features:
        change = drift(random, shares[feature, :HOURS].mean(axis=0), "shift", 0.3)
        spoiled[feature, first:last] = random.multinomial(rows_of[first:last], change(shares[feature, first:last]))
    calibration = calibrate([a_history(spoiled)], episodes_per_hour=ASKED)
    (out,), (incidents,) = calibration.left_out, calibration.incidents
    assert set(np.nonzero(out.any(axis=1))[0]) == set(features) == {incident.series for incident in incidents}
    assert out[list(features), first + 6 : last - 6].all()
    assert not out[:, : first - 24].any() and not out[:, last + 24 :].any()
    for before, after in zip(clean.lengths, calibration.lengths, strict=True):
        assert after.level == pytest.approx(before.level, rel=0.35)


def test_hours_that_are_known_to_be_no_example_stay_out():
    *_, found = simulated(SEASONAL)
    history = a_history(found[:, :HOURS])
    history.left_out[4, 100:150] = True
    out, incidents = search(history)
    assert out[4, 100:150].all() and out.sum() == 50 and not incidents


def test_a_third_unlike_the_rest_is_a_second_state_and_no_incident():
    shares, rows_of, found = simulated()
    history, random = found[:, :HOURS].copy(), np.random.default_rng(5)
    change = drift(random, shares[2, 0], "shift", 0.3)
    begins = HOURS * 2 // 3
    history[2, begins:] = random.multinomial(rows_of[begins:HOURS], change(shares[2, begins:HOURS]))
    out, incidents = search(a_history(history))
    assert not out.any()
    assert {(incident.series, incident.is_state) for incident in incidents} == {(2, True)}


def test_the_level_is_passed_as_often_as_asked_by_a_tail_that_is_exponential():
    random = np.random.default_rng(11)
    scores = random.exponential(1.0, 200_000)
    _, level = budget_level(scores[:2_000], 1e-3, 1)
    # without clusters P(S > level) = exp(-level) = 1e-3 at ln 1000; the heavier assumed tail is a little careful
    assert np.log(1e3) * 0.9 <= level <= np.log(1e3) * 1.35


def test_many_that_move_a_little_are_seen_together():
    surprises = np.array([[0.1, 1.0], [0.2, 1.1], [0.3, 0.9], [3.0, 1.2]])
    assert many_move(surprises, 10.0) == pytest.approx([(3.0 + 0.3) / 2, (1.2 + 1.1) / 2])
    assert many_move(surprises, 1.0) == pytest.approx([(1.0 + 0.3) / 2, 1.0])  # one alone is not many


def test_bins_and_series_may_be_padded():
    *_, found = simulated(SEASONAL, features=4)
    padded = np.concatenate([found, np.zeros((*found.shape[:2], 3))], axis=-1)
    plain, wide = a_history(found[:, :HOURS]), a_history(padded[:, :HOURS])
    wide = PaneHistory(**{**vars(wide), "bins": plain.bins})
    for one, other in zip(
        calibrate([plain], episodes_per_hour=ASKED).lengths,
        calibrate([wide], episodes_per_hour=ASKED).lengths,
        strict=True,
    ):
        assert other.level == pytest.approx(one.level, rel=1e-6)


def test_what_is_too_short_to_fit_has_no_level():
    *_, found = simulated(features=3)
    assert not calibrate([a_history(found[:, : 13 * 24])], episodes_per_hour=ASKED).lengths
    assert [known.length for known in calibrate([a_history(found[:, : 35 * 24])], episodes_per_hour=ASKED).lengths] == [
        1, 6, 24, 168,
    ]  # fmt: skip
