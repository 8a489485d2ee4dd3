"""Alert rows and episodes: where each alert stands, and every stretch from firing to resolved.

Both change only in the transaction that ends an evaluation, after its claim was confirmed. An alert row carries the
window and revision that it stands for and only ever moves forward; a write that comes too late changes nothing, and
`save` says which. At most one episode of an alert is open: a partial unique index sees to it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, Final, NamedTuple, Self

from sqlalchemy import Connection, Row, and_, bindparam, delete, or_, select, tuple_, update
from sqlalchemy.sql.dml import ReturningInsert

from drift_monitor.core.alerting import INACTIVE, AlertPhase, AlertState
from drift_monitor.core.rules import Observation, Verdict
from drift_monitor.store.columns import ROWS_PER_STATEMENT, episode_id, insert_new, insertion
from drift_monitor.store.connection import now
from drift_monitor.store.runs import done_before
from drift_monitor.store.schema import alert, episode


class AlertKey(NamedTuple):
    """Which alert of a monitor; `feature` is "" for the monitor itself, `segment` for the whole dataset."""

    feature: str
    segment: str
    rule: str


_LOCK: Final = (
    select(alert)
    .where(alert.c.monitor == bindparam("of"))
    .order_by(alert.c.feature, alert.c.segment, alert.c.rule)
    .with_for_update()
)


@dataclass(frozen=True, kw_only=True)
class AlertRow:
    """One alert as it stands after the window `last_window`, written for the `last_revision`-th time."""

    monitor: str
    key: AlertKey
    metric: str
    severity: str
    threshold: float
    alert: AlertState
    last_window: datetime
    last_revision: int
    episode_id: str | None = None
    reason: str | None = None


_QUIET: Final = {
    "feature": "",
    "segment": "",
    "rule": "",
    "verdict": Verdict.QUIET.value,
    "cause": "",
    "observed": None,
    **INACTIVE.to_json(),
}
"""What an alert record need not say."""


def alert_series(state: Mapping[str, Any]) -> tuple[str, str]:
    """Feature and segment of a stored alert record."""
    return state.get("feature", ""), state.get("segment", "")


@dataclass(frozen=True, kw_only=True)
class AlertRecord:
    """One alert after one evaluation, with what its rule saw: an entry of `alert_states` in runs and measurements."""

    key: AlertKey
    alert: AlertState
    observation: Observation

    def to_json(self) -> dict[str, Any]:
        """What differs from a quiet alert: there are many of these, and nearly all are quiet."""
        observation = self.observation
        document = {
            **self.key._asdict(),
            **({} if self.alert is INACTIVE else self.alert.to_json()),
            "verdict": observation.verdict.value,
            # As text: infinite values are observations too, and no JSON.
            "observed": None if observation.value is None else repr(float(observation.value)),
            "cause": observation.cause,
        }
        return {name: value for name, value in document.items() if value != _QUIET[name]}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        document = {**_QUIET, **document}
        observed = document["observed"]
        value = None if observed is None else float(observed)
        return cls(
            key=AlertKey(document["feature"], document["segment"], document["rule"]),
            alert=AlertState.from_json(document),
            observation=Observation(Verdict(document["verdict"]), value, cause=document["cause"]),
        )


@dataclass(frozen=True, kw_only=True)
class Episode:
    """One alert from firing to resolved; open while `closed_window` is None."""

    monitor: str
    key: AlertKey
    metric: str
    severity: str
    opened_window: datetime
    opened_revision: int
    peak_value: float | None = None
    closed_window: datetime | None = None
    closed_at: datetime | None = None
    close_reason: str | None = None

    @property
    def id(self) -> str:
        return episode_id(self.monitor, *self.key, opened=self.opened_window, revision=self.opened_revision)

    @property
    def place(self) -> "EpisodePlace":
        """Where it stands in lists."""
        return EpisodePlace(self.opened_window, self.id)


class EpisodePlace(NamedTuple):
    """A place in the list of episodes: newest first, then by id."""

    opened_window: datetime
    id: str


@dataclass(frozen=True, kw_only=True)
class EpisodeFilter:
    """Which episodes are meant: with `since` and `until`, those that were open at some moment between them."""

    monitor: str | None = None
    feature: str | None = None
    is_open: bool | None = None
    since: datetime | None = None
    until: datetime | None = None


def lock(connection: Connection, monitor: str) -> dict[AlertKey, AlertRow]:
    """The alert rows of a monitor, locked until the transaction ends."""
    return {row.key: row for row in map(_alert_row, connection.execute(_LOCK, {"of": monitor}))}


def stamp(previous: AlertRow | None, window_end: datetime, revision: int) -> tuple[datetime, int]:
    """What a row written by this evaluation stands for: (last_window, last_revision).

    A later window moves the row on. A revision of the same or of an earlier window leaves it at its window and
    counts one write more, so that it passes the guard once.
    """
    if previous is None or window_end > previous.last_window:
        return window_end, revision
    return previous.last_window, max(previous.last_revision + 1, revision)


def save(connection: Connection, rows: Sequence[AlertRow]) -> tuple[AlertKey, ...]:
    """Write alert rows that are newer than the stored ones; the keys of those that were not, and stay unwritten."""
    refused: list[AlertKey] = []
    for start in range(0, len(rows), ROWS_PER_STATEMENT):
        chunk = rows[start : start + ROWS_PER_STATEMENT]
        written = _write(connection, chunk)
        refused += [row.key for row in chunk if (row.monitor, row.key) not in written]
    return tuple(refused)


def _write(connection: Connection, rows: Sequence[AlertRow]) -> set[tuple[str, AlertKey]]:
    done = connection.execute(
        _writing(connection.dialect.name),
        [
            {
                "monitor": row.monitor,
                **row.key._asdict(),
                "metric": row.metric,
                "severity": row.severity,
                "threshold": row.threshold,
                "memory": row.alert.to_json(),
                "state": row.alert.phase.value,
                "reason": row.reason,
                "episode_id": row.episode_id,
                "last_window": row.last_window,
                "last_revision": row.last_revision,
            }
            for row in rows
        ],
    )
    return {(row.monitor, AlertKey(row.feature, row.segment, row.rule)) for row in done}


@cache
def _writing(dialect: str) -> ReturningInsert[Any]:
    statement = insertion(dialect, alert)
    keys = [column.name for column in alert.primary_key]
    stood = tuple_(alert.c.last_window, alert.c.last_revision)
    stands = tuple_(statement.excluded.last_window, statement.excluded.last_revision)
    return statement.on_conflict_do_update(
        index_elements=keys,
        set_={column.name: statement.excluded[column.name] for column in alert.c if column.name not in keys},
        where=stood < stands,
    ).returning(alert.c.monitor, alert.c.feature, alert.c.segment, alert.c.rule)


def active(connection: Connection, monitor: str | None = None) -> tuple[AlertRow, ...]:
    """Alerts that are pending or firing, of one monitor or of all."""
    statement = select(alert).where(alert.c.state != AlertPhase.INACTIVE.value)
    if monitor is not None:
        statement = statement.where(alert.c.monitor == monitor)
    rows = connection.execute(statement.order_by(alert.c.monitor, alert.c.feature, alert.c.segment, alert.c.rule))
    return tuple(_alert_row(row) for row in rows)


def firing(connection: Connection, monitor: str | None = None) -> tuple[AlertRow, ...]:
    """Alerts that are firing."""
    return tuple(row for row in active(connection, monitor) if row.alert.phase is AlertPhase.FIRING)


def states_before(connection: Connection, monitor: str, window_end: datetime) -> dict[AlertKey, AlertState]:
    """The states after the last done window before this one, in its latest revision; inactive alerts are left out."""
    last = done_before(connection, monitor, window_end)
    records = [AlertRecord.from_json(one) for one in last.alert_states] if last else []
    return {record.key: record.alert for record in records if record.alert != INACTIVE}


def open_episode(connection: Connection, opened: Episode) -> bool:
    """Store an episode that begins; False where it was stored already."""
    row = {
        "id": opened.id,
        "monitor": opened.monitor,
        **opened.key._asdict(),
        "metric": opened.metric,
        "severity": opened.severity,
        "opened_window": opened.opened_window,
        "opened_revision": opened.opened_revision,
        "closed_window": opened.closed_window,
        "closed_at": opened.closed_at,
        "close_reason": opened.close_reason,
        "peak_value": opened.peak_value,
    }
    return insert_new(connection, episode, [row]) == 1


def close_episode(connection: Connection, id: str, *, window: datetime, reason: str) -> bool:
    """End an open episode; False where it was not open."""
    closed = connection.execute(
        update(episode)
        .where(episode.c.id == id, episode.c.closed_window.is_(None))
        .values(closed_window=window, closed_at=now(connection), close_reason=reason)
    )
    return closed.rowcount == 1


def note_peak(connection: Connection, id: str, peak: float) -> bool:
    """Write the worst value that an open episode has seen; False where it is not open."""
    noted = connection.execute(
        update(episode).where(episode.c.id == id, episode.c.closed_window.is_(None)).values(peak_value=peak)
    )
    return noted.rowcount == 1


def close_episodes(connection: Connection, monitor: str, *, window: datetime, reason: str) -> tuple[Episode, ...]:
    """End all of a monitor's open episodes and forget its alert states: it is no longer watched."""
    ended = connection.execute(
        update(episode)
        .where(episode.c.monitor == monitor, episode.c.closed_window.is_(None))
        .values(closed_window=window, closed_at=now(connection), close_reason=reason)
        .returning(episode)
    )
    episodes = tuple(sorted(map(_episode, ended), key=lambda one: one.key))
    connection.execute(delete(alert).where(alert.c.monitor == monitor))
    return episodes


def open_episodes(connection: Connection, monitor: str | None = None) -> tuple[Episode, ...]:
    """Episodes that have not ended, oldest first."""
    return episodes(connection, monitor=monitor, only_open=True)[::-1]


def episodes(
    connection: Connection,
    *,
    monitor: str | None = None,
    features: Iterable[str] | None = None,
    since: datetime | None = None,
    only_open: bool = False,
    limit: int | None = None,
) -> tuple[Episode, ...]:
    """Episodes, newest first; with `since`, those that were still open then or opened later."""
    statement = select(episode).order_by(episode.c.opened_window.desc(), episode.c.id).limit(limit)
    if monitor is not None:
        statement = statement.where(episode.c.monitor == monitor)
    if features is not None:
        statement = statement.where(episode.c.feature.in_(tuple(features)))
    if since is not None:
        statement = statement.where(or_(episode.c.closed_window.is_(None), episode.c.closed_window >= since))
    if only_open:
        statement = statement.where(episode.c.closed_window.is_(None))
    return tuple(_episode(row) for row in connection.execute(statement))


def episode_page(
    connection: Connection, asked: EpisodeFilter, *, limit: int, after: EpisodePlace | None = None
) -> tuple[Episode, ...]:
    """Some of these episodes, newest first, those behind a place in that order."""
    columns = episode.c
    statement = select(episode).order_by(columns.opened_window.desc(), columns.id).limit(limit)
    for column, value in ((columns.monitor, asked.monitor), (columns.feature, asked.feature)):
        if value is not None:
            statement = statement.where(column == value)
    if asked.is_open is not None:
        statement = statement.where(columns.closed_window.is_(None) == asked.is_open)
    if asked.since is not None:
        statement = statement.where(or_(columns.closed_window.is_(None), columns.closed_window >= asked.since))
    if asked.until is not None:
        statement = statement.where(columns.opened_window < asked.until)
    if after is not None:
        same = and_(columns.opened_window == after.opened_window, columns.id > after.id)
        statement = statement.where(or_(columns.opened_window < after.opened_window, same))
    return tuple(_episode(row) for row in connection.execute(statement))


def find_episode(connection: Connection, id: str) -> Episode | None:
    """The episode with this id."""
    row = connection.execute(select(episode).where(episode.c.id == id)).one_or_none()
    return None if row is None else _episode(row)


def _alert_row(row: Row[Any]) -> AlertRow:
    return AlertRow(
        monitor=row.monitor,
        key=AlertKey(row.feature, row.segment, row.rule),
        metric=row.metric,
        severity=row.severity,
        threshold=row.threshold,
        alert=AlertState.from_json(row.memory),
        last_window=row.last_window,
        last_revision=row.last_revision,
        episode_id=row.episode_id,
        reason=row.reason,
    )


def _episode(row: Row[Any]) -> Episode:
    return Episode(
        monitor=row.monitor,
        key=AlertKey(row.feature, row.segment, row.rule),
        metric=row.metric,
        severity=row.severity,
        opened_window=row.opened_window,
        opened_revision=row.opened_revision,
        peak_value=row.peak_value,
        closed_window=row.closed_window,
        closed_at=row.closed_at,
        close_reason=row.close_reason,
    )
