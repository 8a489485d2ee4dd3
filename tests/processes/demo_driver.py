"""The demo as `drift-monitor demo --once` runs it, at a time that stands still and over the last days only.

python -m tests.processes.demo_driver DIRECTORY NOW WEBHOOK_URL
"""

import sys
from datetime import datetime, timedelta
from pathlib import Path

from drift_monitor.app import open_services
from drift_monitor.cli.demo import deliver_all, measure, prepare
from drift_monitor.config.loading import load
from drift_monitor.demo.catalogue import PaymentsData
from drift_monitor.demo.database import History
from tests.clocks import FixedClock

SEED = 2013
MEASURED = timedelta(days=5)  # two incidents, one of them over by the end


class LastDays(PaymentsData):
    """The payments, of whose history only the end is measured."""

    def first_window(self, history: History) -> datetime:
        return history.planned_until - MEASURED


def main(directory: str, now: str, webhook_url: str) -> None:
    data, at = LastDays(), datetime.fromisoformat(now)
    config, history = prepare(data, Path(directory), seed=SEED, until=at, webhook_url=webhook_url)
    with open_services(load(config), clock=FixedClock(at)) as services:
        measure(services, data, history, lambda monitor, step: None)
        deliver_all(services)


if __name__ == "__main__":
    main(*sys.argv[1:])
