"""What every set of demo data can do: begin a history, append to it piece by piece, and say how it is watched.

`begin` starts a demo or goes on with the one in the directory; `append` adds the rows of a stretch of time. Both may
be called as often as one likes. The configuration is written as a user would write it for such a table.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from drift_monitor.demo.database import History, Row, Table, append_rows, create_history, recorded_history
from drift_monitor.demo.incidents import Incident
from drift_monitor.errors import InputError

STORE_FILE = "drift.db"

_CONFIG = """\
# Written by `drift-monitor demo`. {about}
store:
  url: {store}

sources:
  - name: demo
    url: {source}
    time_zone: UTC

monitors:
{monitor}
receivers:
  - name: log
    log: {{}}
"""
_WEBHOOK = """\
  - name: webhook
    webhook: {{url: {url}}}
"""


class DemoData(ABC):
    """One set of data: its table, its history and its configuration, all under one directory."""

    table: Table
    title: str  # of the summary
    about: str  # in the configuration
    pane: timedelta  # rows arrive as often as that
    piece: timedelta
    """How much of the past is written and measured at a time, so that its first incidents show before the rest is."""

    @property
    def monitor(self) -> str:
        """The name of the monitor in the configuration."""
        return self.table.name

    @abstractmethod
    def start(self, until: datetime) -> datetime:
        """When a history begins that ends at `until`; raises InputError where the data are not to be had."""

    @abstractmethod
    def rows(self, history: History, start: datetime, end: datetime) -> Iterator[Row]:
        """The rows of [start, end), by time."""

    @abstractmethod
    def monitor_yaml(self, history: History) -> str:
        """The one item of `monitors` in the configuration."""

    @abstractmethod
    def first_window(self, history: History) -> datetime:
        """The end of the first window worth measuring: its reference lies before it, all of it."""

    def incidents(self, history: History) -> tuple[Incident, ...]:
        """What is known to go wrong; nothing where the data are real."""
        return ()

    def file(self, directory: Path) -> Path:
        """Where the rows are."""
        return directory / f"{self.table.name}.db"

    def begin(self, directory: Path, *, seed: int, until: datetime) -> History:
        """Plan a history that ends at `until`, without rows yet, or find the one that is there; its seed wins then."""
        path = self.file(directory)
        if recorded_history(path, self.table) is None:
            end = self._whole_panes(until)
            create_history(path, self.table, seed=seed, start=self.start(end), planned_until=end)
        return self.history(directory)

    def history(self, directory: Path) -> History:
        """What the file holds; raises InputError where it holds none of these data."""
        path = self.file(directory)
        found = recorded_history(path, self.table)
        if found is None:
            raise InputError(f"{path} holds no {self.table.name} of the demo yet: write its history first")
        return found

    def append(self, directory: Path, *, until: datetime) -> int:
        """Add the rows of all panes that are over at `until` and not written yet; returns how many."""
        return append_rows(self.file(directory), self.table, self._whole_panes(until), self.rows)

    def config_yaml(self, directory: Path, history: History, *, webhook_url: str | None = None) -> str:
        """The text of the configuration."""
        place = directory.resolve()
        text = _CONFIG.format(
            about=self.about,
            store=yaml_text(f"sqlite:///{place / STORE_FILE}"),
            source=yaml_text(f"sqlite:///{self.file(place)}"),
            monitor=self.monitor_yaml(history),
        )
        return text if webhook_url is None else text + _WEBHOOK.format(url=yaml_text(webhook_url))

    def _whole_panes(self, at: datetime) -> datetime:
        midnight = at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        return midnight + (at - midnight) // self.pane * self.pane


def yaml_text(value: str) -> str:
    """A value as a double-quoted YAML text, in which `$` starts no variable."""
    return json.dumps(value.replace("$", "$$"), ensure_ascii=False)
