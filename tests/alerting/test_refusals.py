"""What a receiver refuses ends its turn at once, and is told again later for as long as it is true."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from drift_monitor.alerting.dispatch import deliver_next
from drift_monitor.alerting.repeat import repeat_due
from drift_monitor.alerting.self_monitoring import check_monitors
from drift_monitor.errors import DeliveryError, DeliveryFailure
from tests.clocks import FixedClock
from tests.evaluation.workbench import Bench, Workbench, even, high

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
HOOK, OTHER = ({"name": name, "webhook": {"url": f"http://127.0.0.1:9/{name}"}} for name in ("hook", "other"))


@dataclass
class Receiver:
    """Answers with `status`; what it accepted, and what it was asked."""

    status: int = 200
    accepted: list[Mapping[str, Any]] = field(default_factory=list)
    asked: list[tuple[str, str]] = field(default_factory=list)  # id and status of each message

    def send(self, notification_id: str, body: Mapping[str, Any], at: datetime) -> None:
        self.asked.append((notification_id, body["status"]))
        if self.status >= 300:
            retryable = self.status >= 500
            raise DeliveryError("no", retryable=retryable, reason=DeliveryFailure.CLIENT_ERROR, status_code=self.status)
        self.accepted.append(body)

    @property
    def told(self) -> list[str]:
        return [body["status"] for body in self.accepted]


@dataclass
class Stage:
    bench: Bench
    receivers: Mapping[str, Receiver]

    def pass_time(self, interval: timedelta) -> None:
        """What the daemon does after this time."""
        clock = self.bench.services.clock
        assert isinstance(clock, FixedClock)
        clock.at += interval
        repeat_due(self.bench.services)
        check_monitors(self.bench.services, clock.at)  # nothing is stale: time without evaluations is the test's
        self.deliver()

    def refuse_the_end(self) -> None:
        """The hook accepts that the alert fires, and refuses that it is over."""
        self.bench.evaluate(1, 2)
        self.deliver()
        self.receivers["hook"].status = 422
        self.bench.evaluate(3, 4)
        self.deliver()

    def deliver(self) -> None:
        while deliver_next(self.bench.services):
            pass


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """Hours 2 and 3 drift, hours 1 and 4 don't; two receivers, of which the monitor names one."""
    workbench = Workbench(tmp_path, f"sqlite:///{tmp_path / 'drift.db'}", [HOOK, OTHER])
    workbench.people.train(even(400))
    for number, ages in enumerate([even(200), high(200), high(200), even(200), high(200), even(200)]):
        workbench.people.arrive(number, ages)
    with workbench.open(receivers=["hook"]) as bench:
        receivers = {"hook": Receiver(), "other": Receiver()}
        yield Stage(Bench(replace(bench.services, senders=receivers), bench.people), receivers)  # type: ignore[arg-type]


def test_a_refused_message_is_told_again_after_five_minutes_doubling_to_six_hours(stage: Stage) -> None:
    hook = stage.receivers["hook"]
    hook.status = 400
    stage.bench.evaluate(1, 2)
    stage.deliver()
    assert len(hook.asked) == 1
    pauses = [5, 10, 20, 40, 80, 160, 320, 360, 360]
    for number, minutes in enumerate(pauses, start=1):
        stage.pass_time(minutes * MINUTE - MINUTE)
        assert len(hook.asked) == number, f"not before {minutes} minutes"
        stage.pass_time(MINUTE)
        assert len(hook.asked) == number + 1, f"after {minutes} minutes"
    hook.status = 200
    stage.pass_time(6 * HOUR)
    assert hook.told == ["firing"]
    assert len({id for id, _ in hook.asked}) == len(hook.asked), "each is rendered anew"
    stage.pass_time(12 * HOUR)
    assert hook.told == ["firing"], "what was accepted is not told again"
    stage.bench.evaluate(3, 4)
    stage.deliver()
    assert hook.told == ["firing", "resolved"]


def test_what_was_never_accepted_has_no_end_to_tell(stage: Stage) -> None:
    hook = stage.receivers["hook"]
    hook.status = 400
    stage.bench.evaluate(1, 2)
    stage.deliver()
    hook.status = 200
    stage.bench.evaluate(3, 4)
    stage.pass_time(HOUR)
    assert hook.told == []


def test_an_end_that_was_written_before_its_beginning_was_refused_is_not_told(stage: Stage) -> None:
    hook = stage.receivers["hook"]
    stage.bench.evaluate(1, 2, 3, 4)
    hook.status = 400
    assert deliver_next(stage.bench.services)
    hook.status = 200
    stage.deliver()
    assert (hook.told, [status for _, status in hook.asked]) == ([], ["firing"])
    rows = stage.bench.rows("SELECT state, reason FROM outbox ORDER BY seq")
    assert [tuple(row) for row in rows] == [("dead", None), ("suppressed", "its beginning was not told")]


def test_an_end_that_was_written_before_its_beginning_was_accepted_is_told(stage: Stage) -> None:
    stage.bench.evaluate(1, 2, 3, 4)
    stage.deliver()
    assert stage.receivers["hook"].told == ["firing", "resolved"]


def test_an_end_is_owed_where_any_message_of_the_beginning_was_accepted(stage: Stage) -> None:
    hook = stage.receivers["hook"]
    stage.bench.evaluate(1, 2)
    hook.status = 400
    stage.deliver()
    hook.status = 200
    stage.pass_time(5 * MINUTE)
    hook.status = 400
    stage.bench.evaluate(3, 4)
    stage.deliver()
    hook.status = 200
    stage.pass_time(5 * MINUTE)
    assert hook.told == ["firing", "resolved"]


def test_a_refused_end_is_tried_for_a_day(stage: Stage) -> None:
    hook = stage.receivers["hook"]
    stage.refuse_the_end()
    stage.pass_time(4 * MINUTE)
    assert len(hook.asked) == 2
    stage.pass_time(MINUTE)
    assert [status for _, status in hook.asked] == ["firing", "resolved", "resolved"]
    hook.status = 200
    stage.pass_time(10 * MINUTE)
    stage.pass_time(HOUR)
    assert hook.told == ["firing", "resolved"]


def test_an_old_end_does_not_end_what_has_begun_anew(stage: Stage) -> None:
    hook = stage.receivers["hook"]
    stage.refuse_the_end()
    hook.status = 200
    stage.bench.evaluate(5)
    stage.deliver()
    stage.pass_time(HOUR)
    assert hook.told == ["firing", "firing"]


def test_a_message_behind_a_refused_one_has_its_turn_at_once(stage: Stage) -> None:
    hook = stage.receivers["hook"]
    stage.bench.evaluate(1, 2)
    hook.status = 400
    stage.deliver()
    hook.status = 200
    stage.bench.evaluate(3, 4, 5)
    stage.deliver()
    assert hook.told == ["firing"]


def test_who_is_gone_is_told_nothing_again(stage: Stage) -> None:
    hook = stage.receivers["hook"]
    hook.status = 410
    stage.bench.evaluate(1, 2)
    stage.deliver()
    for _ in range(10):
        stage.pass_time(HOUR)
    assert len(hook.asked) == 1


@pytest.mark.parametrize("status", [400, 503])
def test_a_receiver_that_accepts_nothing_is_an_alert_to_the_others(stage: Stage, status: int) -> None:
    hook, other = stage.receivers["hook"], stage.receivers["other"]
    hook.status = status
    stage.bench.evaluate(1, 2)
    stage.deliver()
    for _ in range(4):
        stage.pass_time(11 * MINUTE)
    assert other.told == ["firing"]
    (alert,) = other.accepted[0]["alerts"]
    assert alert["labels"]["alertname"] == "ReceiverFailing"
    assert "Receiver hook accepts no message" in alert["annotations"]["summary"]
    assert all("ReceiverFailing" not in str(body) for body in hook.accepted)
    hook.status = 200
    stage.pass_time(6 * HOUR)
    stage.pass_time(MINUTE)
    assert other.told == ["firing", "resolved"]
    assert hook.told == ["firing"]


def test_a_receiver_that_fails_now_and_then_is_none(stage: Stage) -> None:
    hook, other = stage.receivers["hook"], stage.receivers["other"]
    stage.bench.evaluate(1)
    for window in (2, 4):
        hook.status = 400
        stage.bench.evaluate(window, window + 1)
        stage.deliver()
        hook.status = 200
        stage.pass_time(20 * MINUTE)
    assert other.told == []
