"""The life of one alert through restarts of everything that lies between the rows and a person.

`visits` drifts from the beginning to the end, `orders` never does.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tests.alertmanager import Alertmanager
from tests.endtoend.installation import Installation
from tests.endtoend.posts import statuses


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What held after a restart: the starts of the alert in each replica, in how many alerts it fires by rules."""

    starts: Sequence[datetime]
    by_rules: int
    ends_told: int


@dataclass
class Story:
    """Steps that each end when everything goes on as it should."""

    installed: Installation
    seen: dict[str, Seen] = field(default_factory=dict)

    def begin(self) -> None:
        """The alert fires, and everybody who is told at once has been told."""
        self.installed.wait_until_all_is_known_to_be_well()
        self.installed.shop.drift("visits")
        for hook in (self.installed.hook, self.installed.by_rules.hook):
            self.installed.wait_until(lambda hook=hook: statuses(hook, "visits") == ["firing"], "told of the drift")

    def restart_daemon(self, end: Callable[[], None], name: str) -> None:
        """A new process tells the replicas at its start."""
        end()
        started = datetime.now(UTC)
        self.installed.daemon.start()
        self._wait_until_replicas_are_told(started)
        self.installed.wait_until_measured("visits", started)
        scraped = f"drift_config_last_reload_success_timestamp_seconds >= {int(started.timestamp())}"
        self.installed.wait_until(lambda: self.installed.prometheus.now(scraped), "Prometheus scrapes the new process")
        self._look(name)

    def restart_postgresql(self, end: Callable[[], None], name: str) -> None:
        """All that the daemon knows is there, and all that it reads."""
        end()
        is_down = "Prometheus sees that the store is down"
        self.installed.wait_until(lambda: self.installed.prometheus.now("drift_store_up == 0"), is_down)
        self.installed.server.start()
        self.installed.wait_until_measured("visits", datetime.now(UTC))
        self._look(name)

    def restart_prometheus(self, end: Callable[[], None], name: str) -> None:
        """What it knew is on its disk: it goes on to tell of the alert."""
        end()
        started = datetime.now(UTC)
        self.installed.prometheus.start()
        self._wait_until_rules_tell(started)
        self._look(name)

    def restart_alertmanager_of_rules(self, end: Callable[[], None], name: str) -> None:
        """It has forgotten the alert; Prometheus tells it again."""
        end()
        started = datetime.now(UTC)
        self.installed.by_rules.alertmanager.start()
        self._wait_until_rules_tell(started)
        self._look(name)

    def end_replicas(self) -> datetime:
        """One in order, one as by a crash; both are started again and have forgotten the alert. Returns when."""
        killed, stopped = (one.alertmanager for one in self.installed.replicas)
        killed.kill()
        stopped.stop()
        ended = datetime.now(UTC)
        killed.start()
        stopped.start()
        return ended

    def wait_until_replicas_know_again(self, ended: datetime) -> None:
        """The same process tells them again within a minute."""
        self._wait_until_replicas_are_told(ended)
        self._look("alertmanagers stopped and killed")

    def finish(self) -> None:
        self.installed.shop.recover("visits")
        for hook in self.installed.hooks:
            self.installed.wait_until(lambda hook=hook: "resolved" in statuses(hook, "visits"), "told of the end")

    def _wait_until_replicas_are_told(self, since: datetime) -> None:
        for one in self.installed.replicas:
            self.installed.wait_until(
                lambda one=one: is_repeated(drifting(one.alertmanager), since), "the daemon tells the replica"
            )

    def _wait_until_rules_tell(self, since: datetime) -> None:
        alertmanager = self.installed.by_rules.alertmanager
        self.installed.wait_until(lambda: is_repeated(drifting(alertmanager), since), "Prometheus tells Alertmanager")

    def _look(self, name: str) -> None:
        replicas = [drifting(one.alertmanager) for one in self.installed.replicas]
        self.seen[name] = Seen(
            starts=[datetime.fromisoformat(alert["startsAt"]) for alerts in replicas for alert in alerts],
            by_rules=len(drifting(self.installed.by_rules.alertmanager)),
            ends_told=sum(statuses(hook, "visits").count("resolved") for hook in self.installed.hooks),
        )


def drifting(alertmanager: Alertmanager) -> list[Mapping[str, Any]]:
    """The alerts about drift in `visits` that fire there."""
    wanted = {"alertname": "DataDrift", "monitor": "visits"}
    return [alert for alert in alertmanager.alerts() if wanted.items() <= alert["labels"].items()]


def is_repeated(alerts: Sequence[Mapping[str, Any]], since: datetime) -> bool:
    return any(datetime.fromisoformat(alert["updatedAt"]) > since for alert in alerts)
