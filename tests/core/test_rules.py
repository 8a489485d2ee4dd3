"""A rule's verdict on one window."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drift_monitor.core.divergence import Estimate, Metric, Scope
from drift_monitor.core.rules import Comparand, Measured, MeasurementStatus, Observation, Rule, Severity, Verdict, judge
from drift_monitor.errors import InputError

OK = MeasurementStatus.OK
NOT_OK = [status for status in MeasurementStatus if status is not OK]
BREACH, QUIET, UNKNOWN = Verdict.BREACH, Verdict.QUIET, Verdict.UNKNOWN


def rule(
    metric: Metric = Metric.PSI,
    *,
    above: float | None = None,
    below: float | None = None,
    on: Comparand = Comparand.LOWER_BOUND,
) -> Rule:
    return Rule(id="a rule", metric=metric, above=above, below=below, on=on)


def measured(metric: Metric, estimate: Estimate, status: MeasurementStatus = OK) -> Measured:
    return Measured(status, {metric: estimate})


DIVERGENCE = Estimate(value=0.30, low=0.10, high=0.40, corrected=0.25)


@pytest.mark.parametrize(
    ("on", "threshold", "verdict", "compared"),
    [
        (Comparand.LOWER_BOUND, 0.09, BREACH, 0.10),
        (Comparand.LOWER_BOUND, 0.20, QUIET, 0.10),
        (Comparand.CORRECTED, 0.20, BREACH, 0.25),
        (Comparand.CORRECTED, 0.28, QUIET, 0.25),
        (Comparand.VALUE, 0.28, BREACH, 0.30),
        (Comparand.VALUE, 0.35, QUIET, 0.30),
    ],
)
@pytest.mark.parametrize("metric", [metric for metric in Metric if metric.is_divergence])
def test_a_divergence_is_compared_by_what_the_rule_says(
    metric: Metric, on: Comparand, threshold: float, verdict: Verdict, compared: float
) -> None:
    observed = judge(rule(metric, above=threshold, on=on), measured(metric, DIVERGENCE))
    assert observed == Observation(verdict, compared)


def test_a_divergence_below_is_compared_by_its_upper_bound() -> None:
    assert judge(rule(below=0.45), measured(Metric.PSI, DIVERGENCE)) == Observation(BREACH, 0.40)
    assert judge(rule(below=0.35), measured(Metric.PSI, DIVERGENCE)) == Observation(QUIET, 0.40)


@pytest.mark.parametrize("metric", [metric for metric in Metric if not metric.is_divergence])
@pytest.mark.parametrize("on", Comparand)
def test_plain_numbers_are_compared_as_they_are(metric: Metric, on: Comparand) -> None:
    estimate = Estimate(value=5.0)
    assert judge(rule(metric, above=4.0, on=on), measured(metric, estimate)) == Observation(BREACH, 5.0)
    assert judge(rule(metric, below=4.0, on=on), measured(metric, estimate)) == Observation(QUIET, 5.0)


@given(st.sampled_from(Metric), st.floats(allow_nan=False, allow_infinity=False))
def test_a_value_equal_to_the_threshold_is_quiet_on_either_side(metric: Metric, value: float) -> None:
    estimate = Estimate(value=value, low=value, high=value, corrected=value)
    assert judge(rule(metric, above=value), measured(metric, estimate)).verdict is QUIET
    assert judge(rule(metric, below=value), measured(metric, estimate)).verdict is QUIET


@pytest.mark.parametrize("status", NOT_OK)
@pytest.mark.parametrize("metric", [metric for metric in Metric if metric.info.scope is Scope.FEATURE])
def test_a_feature_that_was_not_measured_is_unknown_even_if_a_number_is_there(
    metric: Metric, status: MeasurementStatus
) -> None:
    observed = judge(rule(metric, above=0.0), measured(metric, DIVERGENCE, status))
    assert observed == Observation(UNKNOWN, None, cause=status.value)


@pytest.mark.parametrize("status", MeasurementStatus)
def test_rows_and_freshness_are_judged_whatever_the_status(status: MeasurementStatus) -> None:
    empty = measured(Metric.ROWS, Estimate(value=0.0), status)
    stale = measured(Metric.FRESHNESS, Estimate(value=7201.0), status)
    assert judge(rule(Metric.ROWS, below=1.0), empty).verdict is BREACH
    assert judge(rule(Metric.FRESHNESS, above=7200.0), stale).verdict is BREACH


@pytest.mark.parametrize("estimate", [None, Estimate(value=None), Estimate(value=math.nan)])
@pytest.mark.parametrize("metric", [Metric.FRESHNESS, Metric.ROWS, Metric.MISSING_RATIO])
def test_a_number_that_could_not_be_had_is_unknown(metric: Metric, estimate: Estimate | None) -> None:
    values = {} if estimate is None else {metric: estimate}
    assert judge(rule(metric, above=1.0), Measured(OK, values)).verdict is UNKNOWN


def test_a_divergence_without_interval_is_unknown_to_a_rule_on_its_bound() -> None:
    bare = measured(Metric.PSI, Estimate(value=0.3))
    assert judge(rule(above=0.1), bare).verdict is UNKNOWN
    assert judge(rule(above=0.1, on=Comparand.VALUE), bare).verdict is BREACH


@pytest.mark.parametrize("on", Comparand)
def test_an_infinite_divergence_stands_above_every_threshold_and_below_none(on: Comparand) -> None:
    infinite = measured(Metric.KL_LIVE_REFERENCE, Estimate(value=math.inf))
    assert judge(rule(Metric.KL_LIVE_REFERENCE, above=1e300, on=on), infinite) == Observation(BREACH, math.inf)
    assert judge(rule(Metric.KL_LIVE_REFERENCE, below=1e300, on=on), infinite) == Observation(QUIET, math.inf)


def test_every_metric_of_a_rule_is_in_the_one_list() -> None:
    assert [metric.value for metric in Metric] == [
        "kl_live_reference",
        "kl_reference_live",
        "psi",
        "js",
        "hellinger",
        "missing_ratio",
        "unseen_ratio",
        "surprise",
        "rows",
        "freshness",
    ]
    assert [metric for metric in Metric if metric.is_of_monitor] == [Metric.SURPRISE, Metric.ROWS, Metric.FRESHNESS]
    assert [metric.value for metric in Metric if metric.unit == "nats"] == [
        "kl_live_reference",
        "kl_reference_live",
        "js",
    ]


def test_severities_rise_from_info_to_critical() -> None:
    assert Severity.INFO.rank < Severity.WARNING.rank < Severity.CRITICAL.rank


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({}, "either above or below"),
        ({"above": 1.0, "below": 0.5}, "either above or below"),
        ({"above": math.inf}, "finite"),
        ({"below": math.nan}, "finite"),
        ({"above": 1.0, "for_windows": 0}, "one window or more"),
        ({"above": 1.0, "keep_firing_for": -1}, "zero or more"),
    ],
)
def test_a_rule_that_means_nothing_is_refused(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Rule(id="psi:warning", metric=Metric.PSI, **wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(("verdict", "value"), [(UNKNOWN, 1.0), (BREACH, None), (QUIET, None), (BREACH, math.nan)])
def test_an_observation_has_a_number_unless_it_is_unknown(verdict: Verdict, value: float | None) -> None:
    with pytest.raises(InputError, match="can't rest on"):
        Observation(verdict, value)
