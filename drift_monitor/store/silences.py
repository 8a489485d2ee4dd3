"""Silences: from when to when, and why, certain alerts are not to be told.

A silence is never deleted by hand: it is ended, and stays readable until retention takes it. All moments are the
store's.
"""

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, and_, func, or_, select, update

from drift_monitor.core.matching import Matcher, match_all
from drift_monitor.store.connection import now
from drift_monitor.store.schema import audit, silence


class SilenceState(StrEnum):
    """Where a silence stands at one moment."""

    PENDING = "pending"  # will begin
    ACTIVE = "active"
    EXPIRED = "expired"


@dataclass(frozen=True, kw_only=True)
class Silence:
    """What is not to be told in [starts_at, ends_at), who says so and why."""

    id: str
    matchers: tuple[Matcher, ...]
    starts_at: datetime
    ends_at: datetime
    author: str
    comment: str
    created_at: datetime

    @property
    def place(self) -> "SilencePlace":
        """Where it stands in lists."""
        return SilencePlace(self.created_at, self.id)

    def state(self, at: datetime) -> SilenceState:
        if at >= self.ends_at:
            return SilenceState.EXPIRED
        return SilenceState.ACTIVE if at >= self.starts_at else SilenceState.PENDING

    def covers(self, labels: Mapping[str, str]) -> bool:
        """Whether it means an alert with these labels."""
        return match_all(self.matchers, labels)


class SilencePlace(NamedTuple):
    """A place in the list of silences: those made last first, then by id."""

    created_at: datetime
    id: str


def add(
    connection: Connection,
    *,
    matchers: Sequence[Matcher],
    starts_at: datetime,
    ends_at: datetime,
    author: str,
    comment: str,
) -> Silence:
    """Store a new silence."""
    made = Silence(
        id=str(uuid.uuid4()),
        matchers=tuple(matchers),
        starts_at=starts_at,
        ends_at=ends_at,
        author=author,
        comment=comment,
        created_at=now(connection),
    )
    row = {
        "id": made.id,
        "matchers": [one.to_json() for one in made.matchers],
        "starts_at": made.starts_at,
        "ends_at": made.ends_at,
        "author": made.author,
        "comment": made.comment,
        "created_at": made.created_at,
    }
    connection.execute(silence.insert(), [row])
    return made


def note(connection: Connection, *, actor: str, action: str, subject: str) -> None:
    """Keep who did what, in the transaction that does it."""
    row = {"id": str(uuid.uuid4()), "at": now(connection), "actor": actor, "action": action, "subject": subject}
    connection.execute(audit.insert(), [row])


def expire(connection: Connection, id: str) -> bool:
    """End a silence now, also one that has not begun; False where there is none or it has ended."""
    row = connection.execute(select(silence).where(silence.c.id == id).with_for_update()).one_or_none()
    moment = now(connection)
    if row is None or row.ends_at <= moment:
        return False
    ended = update(silence).where(silence.c.id == id).values(starts_at=min(row.starts_at, moment), ends_at=moment)
    return connection.execute(ended).rowcount == 1


def find(connection: Connection, id: str) -> Silence | None:
    """The silence with this id."""
    row = connection.execute(select(silence).where(silence.c.id == id)).one_or_none()
    return None if row is None else _silence(row)


def listed(connection: Connection, *, with_expired: bool = False, limit: int | None = None) -> tuple[Silence, ...]:
    """Silences that hold or will hold, those that end first before others; on demand with those that have ended."""
    statement = select(silence).order_by(silence.c.ends_at, silence.c.id)
    if with_expired:
        statement = select(silence).order_by(silence.c.ends_at.desc(), silence.c.id)
    else:
        statement = statement.where(silence.c.ends_at > now(connection))
    return tuple(_silence(row) for row in connection.execute(statement.limit(limit)))


def page(
    connection: Connection, states: Collection[SilenceState], *, limit: int, after: SilencePlace | None = None
) -> tuple[Silence, ...]:
    """Some silences in these states, those made last first, those behind a place in that order."""
    moment, columns = now(connection), silence.c
    is_in = {
        SilenceState.PENDING: and_(columns.starts_at > moment, columns.ends_at > moment),
        SilenceState.ACTIVE: and_(columns.starts_at <= moment, columns.ends_at > moment),
        SilenceState.EXPIRED: columns.ends_at <= moment,
    }
    statement = select(silence).where(or_(*(is_in[state] for state in states)))
    if after is not None:
        same = and_(columns.created_at == after.created_at, columns.id > after.id)
        statement = statement.where(or_(columns.created_at < after.created_at, same))
    rows = connection.execute(statement.order_by(columns.created_at.desc(), columns.id).limit(limit))
    return tuple(_silence(row) for row in rows)


def count_open(connection: Connection) -> int:
    """How many silences hold or will hold."""
    return connection.execute(select(func.count()).where(silence.c.ends_at > now(connection))).scalar_one()


def active(connection: Connection) -> tuple[Silence, ...]:
    """The silences that hold now, those that end last first."""
    moment = now(connection)
    rows = connection.execute(
        select(silence)
        .where(silence.c.starts_at <= moment, silence.c.ends_at > moment)
        .order_by(silence.c.ends_at.desc(), silence.c.id)
    )
    return tuple(_silence(row) for row in rows)


def _silence(row: Row[Any]) -> Silence:
    return Silence(
        id=row.id,
        matchers=tuple(Matcher.from_json(one) for one in row.matchers),
        starts_at=row.starts_at,
        ends_at=row.ends_at,
        author=row.author,
        comment=row.comment,
        created_at=row.created_at,
    )
