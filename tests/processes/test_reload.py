"""SIGHUP loads the configuration anew: a good one takes its place, a bad one changes nothing."""

import signal
from collections.abc import Callable

from sqlalchemy import select

from drift_monitor.store.schema import monitor
from tests.processes.processes import ServiceProcess, wait_until
from tests.processes.stage import Stage, Template, end

SUCCESSFUL = "drift_config_last_reload_successful"


def enabled(stage: Stage) -> set[str]:
    with stage.store.read() as connection:
        return set(connection.execute(select(monitor.c.name).where(monitor.c.enabled)).scalars())


def refused(process: ServiceProcess, times: int) -> bool:
    return process.metric(SUCCESSFUL) == 0 and len(process.events("reload_refused")) >= times


def test_a_bad_configuration_is_refused_and_a_good_one_takes_its_place(
    sqlite_template: Template, open_stage: Callable[..., Stage]
) -> None:
    stage = open_stage(sqlite_template)
    good = stage.config.read_text()
    fewer = good[: good.index("  - name: visits")]
    with stage.started(stage.orders("service")) as (service,):
        stage.wait_until_quiet()
        assert service.metric(SUCCESSFUL) == 1

        stage.config.write_text(fewer.replace("table: orders", "tabel: orders"))
        service.send(signal.SIGHUP)
        wait_until(lambda: refused(service, 1), "the configuration is refused")
        assert "tabel" in service.log
        assert service.get("/-/ready")[0] == 200
        assert enabled(stage) == {"orders", "visits"}

        stage.config.write_text(good.replace("/store.db", "/other.db"))
        status, said = service.get("/-/reload", post=True)
        assert status >= 400
        assert "restart" in said
        assert service.metric(SUCCESSFUL) == 0

        stage.config.write_text(fewer)
        service.send(signal.SIGHUP)
        assert service.wait_for_event("reloaded")["monitors"] == 1
        assert service.metric(SUCCESSFUL) == 1
        assert enabled(stage) == {"orders"}
        end(service)


def test_a_storm_of_signals_does_not_stop_the_service(
    sqlite_template: Template, open_stage: Callable[..., Stage]
) -> None:
    """A handler that takes a lock which the interrupted thread holds would stop it for ever."""
    stage = open_stage(sqlite_template)
    with stage.started(stage.orders("service")) as (service,):
        stage.wait_until_quiet()
        for _ in range(20_000):
            service.send(signal.SIGHUP)
        loaded = len(service.events("reloaded"))
        service.send(signal.SIGHUP)
        wait_until(lambda: len(service.events("reloaded")) > loaded, "the configuration is loaded")
        end(service)
