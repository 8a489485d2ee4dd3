"""Acknowledgements: somebody looks after an alert. It is not repeated any more, and everybody sees who it is.

One for each episode; it ends with the episode, and a new firing starts without one.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, select

from drift_monitor.store.columns import upsert
from drift_monitor.store.connection import now
from drift_monitor.store.schema import acknowledgement, episode


@dataclass(frozen=True, kw_only=True)
class Acknowledgement:
    """Who looks after an episode since when, and what they said."""

    episode_id: str
    at: datetime
    author: str
    comment: str


def acknowledge(connection: Connection, episode_id: str, *, author: str, comment: str) -> Acknowledgement:
    """Write who looks after a stored episode from now on; whoever says it later takes it over."""
    made = Acknowledgement(episode_id=episode_id, at=now(connection), author=author, comment=comment)
    upsert(
        connection,
        acknowledgement,
        {"episode_id": made.episode_id, "at": made.at, "author": made.author, "comment": made.comment},
    )
    return made


def withdraw(connection: Connection, episode_id: str) -> bool:
    """Nobody looks after it any more; False where nobody did."""
    gone = connection.execute(delete(acknowledgement).where(acknowledgement.c.episode_id == episode_id))
    return gone.rowcount == 1


def of_episodes(connection: Connection, ids: Collection[str]) -> Mapping[str, Acknowledgement]:
    """Those of these episodes that somebody looks after."""
    rows = connection.execute(select(acknowledgement).where(acknowledgement.c.episode_id.in_(ids)))
    return {row.episode_id: _acknowledgement(row) for row in rows}


def of_open_episodes(connection: Connection) -> Mapping[str, Acknowledgement]:
    """The open episodes that somebody looks after."""
    rows = connection.execute(
        select(acknowledgement)
        .join(episode, acknowledgement.c.episode_id == episode.c.id)
        .where(episode.c.closed_window.is_(None))
    )
    return {row.episode_id: _acknowledgement(row) for row in rows}


def _acknowledgement(row: Row[Any]) -> Acknowledgement:
    return Acknowledgement(episode_id=row.episode_id, at=row.at, author=row.author, comment=row.comment)
