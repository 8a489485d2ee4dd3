"""A simulated day under faults ends like one without; and where the product makes a mistake, that shows.

`python -m benchmarks.simulation --days 365` lives a year, by a seed of its own.
"""

from pathlib import Path

import pytest

from benchmarks.simulation import simulate
from drift_monitor.alerting import dispatch
from drift_monitor.alerting.services import Services
from drift_monitor.daemon.watchdog import ClockTrust
from drift_monitor.store.outbox import ClaimedNotification, Delivery, DeliveryOutcome

DAYS, MONITORS = 1, 4

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


@pytest.mark.parametrize("seed", [11, 12])
def test_nothing_is_lost_doubled_or_misdated_whatever_goes_wrong(tmp_path: Path, seed: int) -> None:
    found, life = simulate(tmp_path, DAYS, MONITORS, seed)
    assert found == [], f"python -m benchmarks.simulation --days {DAYS} --monitors {MONITORS} --seed {seed}"
    assert life.faults.total() > 100
    assert set(life.faults) == {"kill", "store", "slow", "clock", "reload", "refusal"}
    assert life.evaluations > DAYS * 24 * MONITORS
    assert len(life.receiver.received) > 5


def test_a_seed_lives_the_same_again(tmp_path: Path) -> None:
    lives = []
    for name in ("once", "again"):
        (tmp_path / name).mkdir()
        lives.append(simulate(tmp_path / name, DAYS, 1, 5)[1])
    assert lives[0].faults == lives[1].faults
    assert lives[0].receiver.received == lives[1].receiver.received


def test_a_refusal_that_counts_as_sent_is_found_by_the_message_that_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = dispatch._send

    def always_sent(services: Services, claimed: ClaimedNotification) -> Delivery:
        send(services, claimed)
        return Delivery(outcome=DeliveryOutcome.SENT)

    monkeypatch.setattr(dispatch, "_send", always_sent)
    found, _ = simulate(tmp_path, DAYS, MONITORS, 11)
    assert [line for line in found if line.startswith("messages: never received")]


def test_a_clock_that_is_always_believed_is_found_by_windows_that_differ(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ClockTrust, "holds", lambda self: True)
    found, _ = simulate(tmp_path, DAYS, MONITORS, 11)
    assert [line for line in found if line.startswith(("windows", "measurements"))]
