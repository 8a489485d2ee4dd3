"""What fires now and what people said of it; what fired; what was sent: read for the HTTP interface and the commands.

Lists come newest first, a page at a time: `after` is where the page before ended, as it told itself.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Generic, TypeVar

from drift_monitor.alerting.episodes import former_rule
from drift_monitor.alerting.labels import drift_labels, self_labels
from drift_monitor.config.schema import Config, MonitorConfig
from drift_monitor.core.alerting import AlertPhase
from drift_monitor.core.rules import Severity
from drift_monitor.errors import UnknownId
from drift_monitor.queries.alert_documents import (
    Handling,
    alert_document,
    episode_document,
    notification_document,
    self_alert_document,
    silence_document,
)
from drift_monitor.queries.evaluations import JsonObject
from drift_monitor.store import acknowledgements, alerts, outbox, silences
from drift_monitor.store.alerts import AlertRow, Episode, EpisodeFilter, EpisodePlace
from drift_monitor.store.connection import Store, Transaction
from drift_monitor.store.outbox import NotificationFilter
from drift_monitor.store.silences import Silence, SilencePlace, SilenceState

TRIES_SHOWN: Final = 10  # of one notification, the last ones: a day of retries has hundreds

Place = TypeVar("Place")


@dataclass(frozen=True, kw_only=True)
class Page(Generic[Place]):
    """Some documents of a list, and where the next page begins; None where this was the last."""

    documents: Sequence[JsonObject]
    next: Place | None


@dataclass(frozen=True, kw_only=True)
class ActiveAlert:
    """One alert that is pending or firing, as its row or (about the monitor itself) as its open episode."""

    of: AlertRow | Episode
    handling: Handling

    @property
    def is_firing(self) -> bool:
        """An open episode is nothing else."""
        return isinstance(self.of, Episode) or self.of.alert.phase is AlertPhase.FIRING

    @property
    def since(self) -> datetime:
        """The end of the window of the first breach."""
        return self.of.opened_window if isinstance(self.of, Episode) else self.of.alert.since or self.of.last_window

    @property
    def fired_at(self) -> datetime:
        return self.of.opened_window if isinstance(self.of, Episode) else self.of.alert.fired_at or self.of.last_window

    @property
    def document(self) -> JsonObject:
        if isinstance(self.of, AlertRow):
            return alert_document(self.of, self.handling)
        return self_alert_document(self.of, self.handling)


def read_alerts(config: Config, store: Store, *, monitor: str | None = None) -> list[JsonObject]:
    """Every alert of the configured monitors that is pending or firing: firing ones first, the gravest first."""
    with store.read() as conn:
        return [one.document for one in active_alerts(conn, config, monitor=monitor)]


def active_alerts(conn: Transaction, config: Config, *, monitor: str | None = None) -> list[ActiveAlert]:
    """The alerts of `read_alerts`, as values."""
    return active_alerts_of(conn, config.monitors, alerts.active(conn, monitor), alerts.open_episodes(conn, monitor))


def active_alerts_of(
    conn: Transaction, monitors: Iterable[MonitorConfig], rows: Iterable[AlertRow], opened: Iterable[Episode]
) -> list[ActiveAlert]:
    """The same for what was read already: active alert rows and open episodes, those of other monitors left out."""
    configured = {one.name: one for one in monitors}
    active, silenced = [one for one in rows if one.monitor in configured], silences.active(conn)
    ids = {one.episode_id for one in active}
    alone = [one for one in opened if one.monitor in configured and one.id not in ids]
    said = acknowledgements.of_open_episodes(conn)

    def standing(of: AlertRow | Episode, id: str | None) -> ActiveAlert:
        labels = labels_of(configured[of.monitor], of)
        covering = [one for one in silenced if one.covers(labels)]
        return ActiveAlert(
            of=of, handling=Handling(labels=labels, silenced_by=covering, acknowledged=said.get(id or ""))
        )

    found = [*(standing(one, one.episode_id) for one in active), *(standing(one, one.id) for one in alone)]
    return sorted(found, key=_worst_first)


def labels_of(monitor: MonitorConfig, of: AlertRow | Episode) -> dict[str, str]:
    """The labels that notifications of this alert carry, which silences are held against."""
    if isinstance(of, Episode):  # about the monitor itself: its rule is its name
        return self_labels(monitor, of.key.rule)
    rules = {rule.id: rule for rule in monitor.rules}
    rule = rules.get(of.key.rule) or former_rule(of, of.threshold)
    return drift_labels(monitor, of.key.feature, of.key.segment, rule)


def read_episodes(
    store: Store, asked: EpisodeFilter, *, limit: int, after: EpisodePlace | None = None
) -> Page[EpisodePlace]:
    """Episodes with their acknowledgements, those that opened last first."""
    with store.read() as conn:
        found = alerts.episode_page(conn, asked, limit=limit + 1, after=after)
        shown = found[:limit]
        said = acknowledgements.of_episodes(conn, [one.id for one in shown])
    return Page(
        documents=[episode_document(one, said.get(one.id)) for one in shown],
        next=shown[-1].place if len(found) > limit else None,
    )


def read_episode(store: Store, id: str) -> JsonObject:
    """One episode; raises UnknownId."""
    with store.read() as conn:
        found = alerts.find_episode(conn, id)
        if found is None:
            raise UnknownId(f"no alert that fired has the id {id!r}; the list of episodes shows them")
        return episode_document(found, acknowledgements.of_episodes(conn, [id]).get(id))


def read_notifications(store: Store, asked: NotificationFilter, *, limit: int, after: int | None = None) -> Page[int]:
    """Notifications with their last tries, the newest first."""
    with store.read() as conn:
        found = outbox.page(conn, asked, limit=limit + 1, before=after)
        shown = found[:limit]
        tries = outbox.last_tries(conn, [one.notification.id for one in shown], TRIES_SHOWN)
    return Page(
        documents=[notification_document(one, tries.get(one.notification.id, ())) for one in shown],
        next=shown[-1].seq if len(found) > limit else None,
    )


def read_silences(
    store: Store, state: SilenceState | None, *, limit: int, after: SilencePlace | None = None
) -> Page[SilencePlace]:
    """Silences in this state, or those that hold or will hold; those that were made last first."""
    with store.read() as conn:
        now = store.now(conn)
        states = {state} if state else {SilenceState.PENDING, SilenceState.ACTIVE}
        found = silences.page(conn, states, limit=limit + 1, after=after)
    shown = found[:limit]
    return Page(
        documents=[silence_document(one, one.state(now)) for one in shown],
        next=shown[-1].place if len(found) > limit else None,
    )


def read_silence(store: Store, id: str) -> tuple[Silence, SilenceState]:
    """One silence and how it stands; raises UnknownId."""
    with store.read() as conn:
        found = silences.find(conn, id)
        if found is None:
            raise UnknownId(f"no silence has the id {id!r}; the list of silences shows them")
        return found, found.state(store.now(conn))


def _worst_first(one: ActiveAlert) -> tuple[bool, int, str, tuple[str, str, str]]:
    return (not one.is_firing, -Severity(one.of.severity).rank, one.of.monitor, one.of.key)
