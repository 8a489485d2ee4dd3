"""Whatever goes wrong while a run is claimed, the worker that was to have it is free again."""

from datetime import timedelta
from pathlib import Path

import pytest

from drift_monitor.alerting.services import Services
from drift_monitor.daemon.dispatcher import Dispatcher
from drift_monitor.daemon.settings import DaemonSettings
from drift_monitor.errors import StoreUnavailable
from drift_monitor.evaluation.attempt import LeaseKeeper
from drift_monitor.evaluation.planning import planned_run
from drift_monitor.store import leases, runs
from drift_monitor.store.connection import Transaction
from drift_monitor.store.leases import Claim
from drift_monitor.store.runs import RunState, Trigger
from tests.evaluation.workbench import MONITOR, Workbench, even, hour

SETTINGS = DaemonSettings(workers=2)


@pytest.mark.parametrize("error", [StoreUnavailable("gone"), MemoryError(), OSError("no file left"), KeyError("bug")])
def test_failed_claims_cost_no_worker(tmp_path: Path, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    workbench = Workbench(tmp_path, f"sqlite:///{tmp_path}/drift.db")
    workbench.people.train(even(400))
    workbench.people.arrive(0, even(400))
    with workbench.open() as bench:
        plan_window(bench.services, 1)
        dispatcher = Dispatcher(lambda: bench.services, LeaseKeeper(bench.services.store), SETTINGS)
        with monkeypatch.context() as patch:
            patch.setattr(leases, "claim", failing_with(error))
            for _ in range(SETTINGS.workers + 1):
                with pytest.raises(type(error)):
                    dispatcher.dispatch()
        dispatcher.dispatch()
        assert dispatcher.drain(60)
        assert RunState.DONE in {run.state for run in bench.runs()}


def plan_window(services: Services, number: int) -> None:
    planned = planned_run(services.config.monitor(MONITOR), hour(number), hour(number), Trigger.SCHEDULE)
    assert services.store.transact(lambda conn: runs.plan(conn, [planned])) == 1


def failing_with(error: Exception):  # type: ignore[no-untyped-def]
    def claim(conn: Transaction, owner: str, lease: timedelta, **which: object) -> Claim | None:
        raise error

    return claim
