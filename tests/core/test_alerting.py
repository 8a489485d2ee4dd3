"""The life of an alert as tables of windows, and what holds for every such table.

In the tables a letter is one window: b breach, q quiet, u unknown. Below it stands the phase afterwards: `.` inactive,
p pending, F firing.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drift_monitor.core.alerting import (
    INACTIVE,
    AlertPhase,
    AlertState,
    Change,
    ReplayStep,
    Transition,
    advance,
    replay,
)
from drift_monitor.core.divergence import Metric
from drift_monitor.core.rules import Comparand, Observation, Rule, Verdict
from drift_monitor.errors import InputError

HOUR = timedelta(hours=1)
START = datetime(2026, 11, 21, tzinfo=UTC)
PHASES = {".": AlertPhase.INACTIVE, "p": AlertPhase.PENDING, "F": AlertPhase.FIRING}
LETTERS = {"b": Observation(Verdict.BREACH, 0.2), "q": Observation(Verdict.QUIET, 0.05)}
UNKNOWN = Observation(Verdict.UNKNOWN, None, cause="no_data")

tables = st.text(alphabet="bqu", max_size=40)
counts = st.integers(1, 5)


def rule(for_windows: int = 1, keep_firing_for: int = 0, above: float = 0.1) -> Rule:
    return Rule(
        id="psi:warning",
        metric=Metric.PSI,
        above=above,
        on=Comparand.VALUE,
        for_windows=for_windows,
        keep_firing_for=keep_firing_for,
    )


def steps(table: str) -> list[ReplayStep]:
    return [ReplayStep(START + n * HOUR, 0, LETTERS.get(letter, UNKNOWN)) for n, letter in enumerate(table)]


def live(table: str, watching: Rule) -> list[Transition]:
    return replay(INACTIVE, steps(table), watching)


def phases(transitions: Sequence[Transition]) -> str:
    letters = {phase: letter for letter, phase in PHASES.items()}
    return "".join(letters[transition.state.phase] for transition in transitions)


def changes(transitions: Sequence[Transition]) -> list[str]:
    return [transition.change.value for transition in transitions if transition.change is not Change.NONE]


@pytest.mark.parametrize(
    ("for_windows", "keep_firing_for", "windows", "expected"),
    [
        (1, 0, "qbbq", ".FF."),
        (1, 0, "bqbq", "F.F."),
        (2, 0, "bbbq", "pFF."),
        (2, 0, "bqbq", "p.p."),
        (3, 0, "bbqbbb", "pp.ppF"),
        (1, 1, "bqqq", "FF.."),
        (1, 1, "bqbqq", "FFFF."),
        (1, 2, "bqqbqqq", "FFFFFF."),
        (2, 1, "bbqbqq", "pFFFF."),
        # unknown neither counts nor resets
        (2, 0, "bub", "ppF"),
        (2, 0, "buuuuub", "ppppppF"),
        (1, 0, "buuuq", "FFFF."),
        (1, 1, "bquuq", "FFFF."),
        (1, 1, "bquubqq", "FFFFFF."),
        (1, 0, "uuu", "..."),
        (2, 0, "buqb", "pp.p"),
    ],
)
def test_an_alert_lives_as_its_table_says(for_windows: int, keep_firing_for: int, windows: str, expected: str) -> None:
    assert phases(live(windows, rule(for_windows, keep_firing_for))) == expected


@pytest.mark.parametrize(
    ("for_windows", "windows", "expected"),
    [
        (1, "qbbqq", ["fired", "resolved"]),
        (2, "bbbq", ["pending", "fired", "resolved"]),
        (2, "bqq", ["pending", "cancelled"]),
        (1, "bqbq", ["fired", "resolved", "fired", "resolved"]),
        (3, "bub", ["pending"]),
    ],
)
def test_each_edge_is_told_once(for_windows: int, windows: str, expected: list[str]) -> None:
    assert changes(live(windows, rule(for_windows))) == expected


@given(tables, counts, counts)
def test_it_fires_only_at_breach_number_for_in_a_row(table: str, for_windows: int, keep: int) -> None:
    transitions = live(table, rule(for_windows, keep - 1))
    for index, transition in enumerate(transitions):
        if transition.change is Change.FIRED:
            known = table[: index + 1].replace("u", "")
            assert known.endswith("b" * for_windows)
            assert table[index] == "b"


@given(tables, counts, counts)
def test_it_resolves_only_after_more_quiet_windows_than_it_keeps_firing_for(
    table: str, for_windows: int, keep: int
) -> None:
    transitions = live(table, rule(for_windows, keep - 1))
    for index, transition in enumerate(transitions):
        if transition.change is Change.RESOLVED:
            assert table[: index + 1].replace("u", "").endswith("b" + "q" * keep)


@given(tables, counts, counts)
def test_unknown_windows_change_nothing_at_all(table: str, for_windows: int, keep: int) -> None:
    watching = rule(for_windows, keep - 1)
    transitions = live(table, watching)
    for letter, before, after in zip(table[1:], transitions, transitions[1:], strict=False):
        if letter == "u":
            assert after.state == before.state
            assert after.change is Change.NONE
    assert changes(transitions) == changes(live(table.replace("u", ""), watching))


@given(tables, counts, counts)
def test_fired_and_resolved_alternate_and_pending_never_follows_firing(table: str, for_windows: int, keep: int) -> None:
    transitions = live(table, rule(for_windows, keep - 1))
    told = [change for change in changes(transitions) if change in ("fired", "resolved")]
    assert told == ["fired", "resolved"] * (len(told) // 2) + ["fired"] * (len(told) % 2)
    followers = {
        AlertPhase.INACTIVE: {Change.NONE, Change.PENDING, Change.FIRED},
        AlertPhase.PENDING: {Change.NONE, Change.CANCELLED, Change.FIRED},
        AlertPhase.FIRING: {Change.NONE, Change.RESOLVED},
    }
    for before, after in pairwise([Transition(state=INACTIVE, change=Change.NONE, reason=""), *transitions]):
        assert after.change in followers[before.state.phase]
        assert (after.change is Change.NONE) == (after.state.phase is before.state.phase)


@given(tables, counts, counts, st.integers(0, 40))
def test_a_replay_from_any_stored_state_ends_where_live_steps_did(
    table: str, for_windows: int, keep: int, cut: int
) -> None:
    watching = rule(for_windows, keep - 1)
    state, stepwise = INACTIVE, []
    for at, revision, observation in steps(table):
        stepwise.append(advance(state, observation, watching, at, revision))
        state = AlertState.from_json(json.loads(json.dumps(stepwise[-1].state.to_json(), allow_nan=False)))
    cut = min(cut, len(table))
    before = stepwise[cut - 1].state if cut else INACTIVE
    assert replay(before, steps(table)[cut:], watching) == stepwise[cut:]


@given(tables, counts)
def test_a_longer_wait_never_fires_more_often(table: str, for_windows: int) -> None:
    sooner, later = live(table, rule(for_windows)), live(table, rule(for_windows + 1))
    assert changes(later).count("fired") <= changes(sooner).count("fired")


@given(tables, counts)
def test_keeping_firing_never_tells_people_more_often(table: str, keep: int) -> None:
    shorter, longer = live(table, rule(1, keep - 1)), live(table, rule(1, keep))
    assert changes(longer).count("fired") <= changes(shorter).count("fired")


def test_a_firing_alert_knows_when_it_began_and_when_it_fired() -> None:
    at = [START + n * HOUR for n in range(4)]
    breach = LETTERS["b"]
    windows = [
        ReplayStep(at[0], 0, breach),
        ReplayStep(at[1], 0, UNKNOWN),
        ReplayStep(at[2], 3, breach),
        ReplayStep(at[3], 0, breach),
    ]
    state = replay(INACTIVE, windows, rule(2))[-1].state
    assert (state.since, state.fired_at, state.fired_revision) == (at[0], at[2], 3)
    assert (state.breaches, state.quiets) == (3, 0)


def observed(value: float, watching: Rule) -> Observation:
    return Observation(Verdict.BREACH if watching.is_breached_by(value) else Verdict.QUIET, value)


@pytest.mark.parametrize(
    ("threshold", "values", "peak"),
    [
        ({"above": 0.1}, [0.2, 0.9, 0.05, 0.3], 0.9),
        ({"below": 1000.0}, [900.0, 12.0, 2000.0, 500.0], 12.0),
    ],
)
def test_the_peak_of_an_episode_is_its_worst_value(
    threshold: dict[str, float], values: list[float], peak: float
) -> None:
    watching = Rule(id="rows", metric=Metric.ROWS, keep_firing_for=1, **threshold)  # type: ignore[arg-type]
    windows = [ReplayStep(START + n * HOUR, 0, observed(value, watching)) for n, value in enumerate(values)]
    state = replay(INACTIVE, windows, watching)[-1].state
    assert (state.phase, state.peak, state.value) == (AlertPhase.FIRING, peak, values[-1])


def test_a_new_episode_begins_with_nothing_of_the_old_one() -> None:
    transitions = live("bbqb", rule())
    assert transitions[2].state == INACTIVE
    assert transitions[3].state.since == transitions[3].state.fired_at == START + 3 * HOUR
    assert transitions[3].state.breaches == 1


def test_an_infinite_divergence_survives_storage() -> None:
    state = advance(INACTIVE, Observation(Verdict.BREACH, float("inf")), rule(), START, 0).state
    assert AlertState.from_json(json.loads(json.dumps(state.to_json(), allow_nan=False))) == state


@pytest.mark.parametrize(
    ("before", "changed", "window", "phase"),
    [
        ("bb", rule(for_windows=5), "b", "F"),  # a longer wait does not take back what fired
        ("b", rule(for_windows=1), "b", "F"),
        ("bb", rule(2, above=0.5), "q", "."),  # 0.05 is quiet to the new threshold, too
        ("bbq", rule(2, keep_firing_for=0), "q", "."),
        ("bb", rule(2, keep_firing_for=3), "q", "F"),
    ],
)
def test_a_changed_rule_goes_on_from_the_counts_it_has(before: str, changed: Rule, window: str, phase: str) -> None:
    old = rule(for_windows=2, keep_firing_for=2)
    state = live(before, old)[-1].state
    after = advance(state, LETTERS[window], changed, START + 9 * HOUR, 0)
    assert phases([after]) == phase


KL = Rule(id="kl", metric=Metric.KL_LIVE_REFERENCE, above=0.1, for_windows=2, keep_firing_for=1)
FRESHNESS = Rule(id="freshness", metric=Metric.FRESHNESS, above=7200.0)
ROWS = Rule(id="rows", metric=Metric.ROWS, below=1000.0)
CALM = Rule(id="calm", metric=Metric.JS, below=0.01)


@pytest.mark.parametrize(
    ("watching", "values", "reasons"),
    [
        (
            KL,
            [0.21, 0.21, 0.3, 0.04, 0.04, 0.04],
            [
                "kl_live_reference lower bound 0.21 above 0.1 for 1 of 2 windows",
                "kl_live_reference lower bound 0.21 above 0.1 for 2 of 2 windows",
                "kl_live_reference lower bound 0.3 above 0.1: still firing",
                "kl_live_reference lower bound 0.04 not above 0.1 for 1 window: keeps firing, resolves after 1 more",
                "kl_live_reference lower bound 0.04 not above 0.1 for 2 windows",
                "kl_live_reference lower bound 0.04 not above 0.1",
            ],
        ),
        (
            KL,
            [0.21, 0.04],
            [
                "kl_live_reference lower bound 0.21 above 0.1 for 1 of 2 windows",
                "kl_live_reference lower bound 0.04 not above 0.1 after 1 of 2 windows",
            ],
        ),
        (replace(KL, on=Comparand.CORRECTED), [0.3], ["kl_live_reference corrected 0.3 above 0.1 for 1 of 2 windows"]),
        (replace(KL, on=Comparand.VALUE), [0.3], ["kl_live_reference 0.3 above 0.1 for 1 of 2 windows"]),
        (FRESHNESS, [7260.0], ["freshness 7260 s above 7200 for 1 of 1 window"]),
        (
            ROWS,
            [999.0, 1000.0],
            ["rows 999 below 1000 for 1 of 1 window", "rows 1000 not below 1000 for 1 window"],
        ),
        (CALM, [0.002], ["js upper bound 0.002 below 0.01 for 1 of 1 window"]),
    ],
)
def test_each_step_says_why(watching: Rule, values: list[float], reasons: list[str]) -> None:
    windows = [ReplayStep(START + n * HOUR, 0, observed(value, watching)) for n, value in enumerate(values)]
    assert [transition.reason for transition in replay(INACTIVE, windows, watching)] == reasons


@pytest.mark.parametrize(
    ("threshold", "value", "text"),
    [
        (0.1, 0.100004, "psi 0.100004 above 0.1 for 1 of 1 window"),
        (0.1, 0.1000000000000001, "psi 0.1000000000000001 above 0.1 for 1 of 1 window"),
        (7200.0, 7200.25, "psi 7200.25 above 7200 for 1 of 1 window"),
        (1_000_000.0, 1_234_567.0, "psi 1234567 above 1000000 for 1 of 1 window"),
        (0.1, float("inf"), "psi inf above 0.1 for 1 of 1 window"),
    ],
)
def test_a_value_beyond_the_threshold_does_not_read_like_it(threshold: float, value: float, text: str) -> None:
    assert advance(INACTIVE, Observation(Verdict.BREACH, value), rule(above=threshold), START, 0).reason == text


def test_an_unknown_window_says_why_and_that_nothing_moved() -> None:
    firing = live("b", rule())[-1].state
    assert advance(firing, UNKNOWN, rule(), START + HOUR, 0) == Transition(
        state=firing, change=Change.NONE, reason="psi unknown (no_data): stays firing"
    )


def test_windows_out_of_order_are_refused() -> None:
    with pytest.raises(InputError, match="in order"):
        replay(INACTIVE, steps("bb")[::-1], rule())
    with pytest.raises(InputError, match="in order"):
        replay(INACTIVE, steps("b") * 2, rule())


@pytest.mark.parametrize(
    "impossible",
    [
        {"breaches": 1},
        {"value": 0.1},
        {"phase": AlertPhase.PENDING},
        {"phase": AlertPhase.PENDING, "breaches": 1, "quiets": 1, "since": START, "peak": 1.0, "value": 1.0},
        {"phase": AlertPhase.PENDING, "breaches": 1, "since": START, "fired_at": START, "peak": 1.0, "value": 1.0},
        {"phase": AlertPhase.FIRING, "breaches": 1, "since": START, "peak": 1.0, "value": 1.0},
        {
            "phase": AlertPhase.FIRING,
            "breaches": 1,
            "quiets": 1,
            "since": START,
            "fired_at": START,
            "fired_revision": 0,
            "peak": 1.0,
            "value": 1.0,
        },
    ],
)
def test_states_that_can_not_be_are_refused(impossible: dict[str, object]) -> None:
    with pytest.raises(InputError, match="no alert can be in this state"):
        AlertState(**impossible)  # type: ignore[arg-type]
