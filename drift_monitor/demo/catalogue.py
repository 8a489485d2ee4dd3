"""The data a demo can run on, each behind the same few words.

`prepare` starts a demo or goes on with the one in the directory; `append` adds what has happened since. Both may be
called as often as one likes.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

from drift_monitor.demo import configuration, flights, payments
from drift_monitor.demo.database import History
from drift_monitor.demo.incidents import LIVE_WINDOW, Incident


class DemoData(Protocol):
    """One set of data with its table, its history and its configuration, all under one directory."""

    @property
    def monitor(self) -> str:
        """The name of the monitor in the configuration."""
        ...

    @property
    def title(self) -> str:
        """What its summary is about."""
        ...

    @property
    def pane(self) -> timedelta:
        """How often `append` finds new rows."""
        ...

    def prepare(self, directory: Path, *, seed: int, until: datetime) -> History:
        """Write the history that ends at `until`, or append to the one that is there; its own seed wins then."""
        ...

    def append(self, directory: Path, *, until: datetime) -> int:
        """Add the rows of all panes that are over at `until`; returns how many."""
        ...

    def config_yaml(self, directory: Path, history: History, *, webhook_url: str | None = None) -> str:
        """The text of the configuration."""
        ...

    def first_window(self, history: History) -> datetime:
        """The end of the first window worth measuring: its reference lies before it, all of it."""
        ...

    def incidents(self, history: History) -> tuple[Incident, ...]:
        """What is known to go wrong; nothing where the data are real."""
        ...


class PaymentsData:
    """Generated payments with seven labelled incidents."""

    monitor = "payments"
    title = "What went wrong in these data, and the first alert about it (UTC)"
    pane = payments.PANE

    def prepare(self, directory: Path, *, seed: int, until: datetime) -> History:
        return payments.prepare(directory / configuration.PAYMENTS_FILE, seed=seed, until=until)

    def append(self, directory: Path, *, until: datetime) -> int:
        return payments.append(directory / configuration.PAYMENTS_FILE, until=until)

    def config_yaml(self, directory: Path, history: History, *, webhook_url: str | None = None) -> str:
        return configuration.payments_yaml(directory, history, reference=payments.REFERENCE, webhook_url=webhook_url)

    def first_window(self, history: History) -> datetime:
        return history.start + payments.REFERENCE + LIVE_WINDOW

    def incidents(self, history: History) -> tuple[Incident, ...]:
        return payments.planned_incidents(history)


class FlightsData:
    """The flights from New York of 2013, replayed."""

    monitor = "flights"
    title = "What has drifted (UTC; the demo's first day was 31 December 2013)"
    pane = flights.PANE

    def prepare(self, directory: Path, *, seed: int, until: datetime) -> History:
        return flights.prepare(directory / configuration.FLIGHTS_FILE, until=until)

    def append(self, directory: Path, *, until: datetime) -> int:
        return flights.append(directory / configuration.FLIGHTS_FILE, until=until)

    def config_yaml(self, directory: Path, history: History, *, webhook_url: str | None = None) -> str:
        return configuration.flights_yaml(directory, webhook_url=webhook_url)

    def first_window(self, history: History) -> datetime:
        return history.planned_until - flights.MEASURED

    def incidents(self, history: History) -> tuple[Incident, ...]:
        return ()


CATALOGUE: Mapping[str, DemoData] = {"payments": PaymentsData(), "flights": FlightsData()}
"""By the names that `demo --data` takes."""
