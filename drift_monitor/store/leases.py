"""Leases: the time-bounded right to do one evaluation, and the token that fences a holder who lost it.

    claim     state running, token + 1, attempts + 1: counted before the work, so a monitor that kills its process
              is given up after `MAX_ATTEMPTS` crashes instead of being tried for ever
    renew     longer, while the work goes on; False means the right is gone
    confirm   the first statement of the one transaction that writes the result: it changes exactly one row where
              the token still holds, else LeaseLost, and the caller's transaction rolls back as a whole
    postpone  due again later; the attempt is given back, because a source or store that is down is nobody's crash
    release   due again now, the attempt given back: shutting down
    fail      given up

Only the oldest unfinished run of a monitor is ever claimed, and none beside another one of the same monitor that is
running: the alert state machine sees windows in order. A holder that stalls past its lease is not stopped, it is
refused: its token no longer matches. All moments are the store's.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from itertools import takewhile
from typing import Any, Final

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    Row,
    Update,
    and_,
    bindparam,
    func,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.sql.dml import ReturningUpdate

from drift_monitor.core.rules import Health
from drift_monitor.errors import LeaseLost
from drift_monitor.store.columns import Instant
from drift_monitor.store.connection import now
from drift_monitor.store.runs import UNFINISHED, Run, RunKey, RunState, Trigger, find, has_key
from drift_monitor.store.schema import monitor, run

MAX_ATTEMPTS: Final = 5
CRASHED: Final = "crashed"

# Statements of every evaluation are built once: SQLAlchemy takes longer to build one than SQLite to run it.
_MOMENT: Final = bindparam("moment", type_=Instant())  # the store's
_TAKE: Final = update(run).values(
    state=RunState.RUNNING.value,
    owner=bindparam("new_owner"),
    token=run.c.token + 1,
    attempts=run.c.attempts + 1,
    lease_until=bindparam("until"),
    started_at=func.coalesce(run.c.started_at, _MOMENT),
)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A held right to one run. `postponed` counts how often it was put off, for the next backoff."""

    id: str
    key: RunKey
    window_start: datetime
    trigger: Trigger
    config_hash: str
    owner: str
    token: int
    attempt: int
    postponed: int
    next_at: datetime
    claimed_at: datetime
    lease_until: datetime


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """What a finished evaluation says of itself; its measurements are rows of their own."""

    rows_read: int
    newest: datetime | None = None
    result: Mapping[str, Any] = field(default_factory=dict)
    alert_states: Sequence[Mapping[str, Any]] | None = None


def claim(
    connection: Connection,
    owner: str,
    ttl: timedelta,
    *,
    monitors: Collection[str] | None = None,
    key: RunKey | None = None,
) -> Claim | None:
    """The oldest due run of an enabled monitor (of those named, or any), or None.

    With `key`, this very run, whether or not its time has come; None while it may not run: see `blocking`.
    """
    moment = now(connection)
    retire_crashed(connection, moment)
    values: dict[str, Any] = {"moment": moment, "until": moment + ttl, "new_owner": owner}
    if key is not None:
        values |= {"wanted_monitor": key.monitor, "wanted_end": key.window_end, "wanted_revision": key.revision}
    if monitors is not None:
        values["monitors"] = list(monitors)
    taken = connection.execute(_claiming(by_key=key is not None, among=monitors is not None), values).one_or_none()
    return None if taken is None else _claim(taken, owner, moment)


def claim_together(connection: Connection, owner: str, ttl: timedelta, keys: Sequence[RunKey]) -> tuple[Claim, ...]:
    """The first of these runs of one monitor, oldest first, up to one that can't be had now; none while others block.

    For a batch that is written together: as if each had been claimed after the end of the one before. A run that was
    tried before comes alone: one that kills its process must not use up the attempts of others.
    """
    moment = now(connection)
    retire_crashed(connection, moment)
    wanted = set(keys)
    locked = connection.execute(
        select(run.c.id, run.c.monitor, run.c.window_end, run.c.revision, run.c.attempts)
        .where(
            run.c.monitor == keys[0].monitor,
            run.c.window_end.in_({key.window_end for key in keys}),
            or_(run.c.state == RunState.DUE.value, _is_abandoned(moment)),
        )
        .with_for_update(skip_locked=True)
    )
    free = {key: row for row in locked if (key := _key(row)) in wanted}
    # Looked at after the lock: what another process has claimed meanwhile is seen, and it can't have ours any more.
    unfinished = connection.execute(
        select(run.c.monitor, run.c.window_end, run.c.revision, run.c.state, run.c.lease_until)
        .where(run.c.monitor == keys[0].monitor, run.c.state.in_(UNFINISHED))
        .order_by(run.c.window_end, run.c.revision)
    ).all()
    if any(row.state == RunState.RUNNING.value and row.lease_until >= moment for row in unfinished):
        return ()
    first = [free[key] for key in takewhile(free.__contains__, map(_key, unfinished))]
    fresh = list(takewhile(lambda row: not row.attempts, first))
    ids = [row.id for row in fresh or first[:1]]
    values = {"moment": moment, "until": moment + ttl, "new_owner": owner}
    rows = connection.execute(_TAKE.where(run.c.id.in_(ids)).returning(run), values)
    return tuple(sorted((_claim(row, owner, moment) for row in rows), key=lambda claim: claim.key.window_end))


def blocking(connection: Connection, key: RunKey) -> Run | None:
    """The run that has to end before this one may be claimed: itself where it is running, or an older one."""
    moment = now(connection)
    # Not as a tuple: its values would go to the database without the type of the column.
    older = or_(
        run.c.window_end < key.window_end,
        and_(run.c.window_end == key.window_end, run.c.revision < key.revision),
    )
    row = connection.execute(
        select(run.c.window_end, run.c.revision)
        .where(
            run.c.monitor == key.monitor,
            or_(
                and_(run.c.state.in_(UNFINISHED), older),
                and_(run.c.state == RunState.RUNNING.value, run.c.lease_until >= moment),
            ),
        )
        .order_by(run.c.window_end, run.c.revision)
        .limit(1)
    ).one_or_none()
    if row is None:
        return None
    return find(connection, RunKey(monitor=key.monitor, window_end=row.window_end, revision=row.revision))


def retire_crashed(connection: Connection, moment: datetime) -> int:
    """Give up on runs whose lease ended with their last attempt; how many."""
    return connection.execute(_retirement(), {"moment": moment}).rowcount


@cache
def _retirement() -> Update:
    return (
        update(run)
        .where(_is_abandoned(_MOMENT), run.c.attempts >= MAX_ATTEMPTS)
        .values(
            state=RunState.FAILED.value,
            health=Health.ERROR.value,
            lease_until=None,
            finished_at=_MOMENT,
            error_code=CRASHED,
            error=f"given up after {MAX_ATTEMPTS} attempts that never ended: each time the process died or stalled",
        )
    )


def skip_overdue(connection: Connection, name: str, *, keep: int, reason: str) -> int:
    """Skip a monitor's waiting scheduled runs except the newest `keep`; how many."""
    waiting = (
        select(run.c.id)
        .where(run.c.monitor == name, run.c.state == RunState.DUE.value, run.c.trigger == Trigger.SCHEDULE.value)
        .order_by(run.c.window_end.desc(), run.c.revision.desc())
    )
    overdue = connection.execute(waiting.limit(None).offset(keep).with_for_update(skip_locked=True)).scalars().all()
    if not overdue:
        return 0
    return connection.execute(
        update(run)
        .where(run.c.id.in_(overdue), run.c.state == RunState.DUE.value)
        .values(state=RunState.SKIPPED.value, reason=reason, finished_at=now(connection))
    ).rowcount


def renew(connection: Connection, held: Claim, ttl: timedelta) -> bool:
    """Extend the lease; False where it is gone and the work must stop."""
    moment = now(connection)
    renewed = connection.execute(
        update(run).where(_is_held(held), run.c.lease_until >= moment).values(lease_until=moment + ttl)
    )
    return renewed.rowcount == 1


def confirm(connection: Connection, held: Claim, result: RunResult) -> None:
    """End the run as done; raises LeaseLost unless the claim still holds. Always the first write of its transaction."""
    confirm_all(connection, [(held, result)])


def confirm_all(connection: Connection, finished: Sequence[tuple[Claim, RunResult]]) -> None:
    """End these runs as done, all or none: LeaseLost names the first whose claim does not hold any more."""
    moment = now(connection)
    results = [
        {
            "held_id": held.id,
            "held_token": held.token,
            "finished_at": moment,
            "rows_read": result.rows_read,
            "newest": result.newest,
            "result": dict(result.result),
            "alert_states": [dict(state) for state in result.alert_states or ()],
        }
        for held, result in finished
    ]
    confirmed = sum(connection.execute(_confirmation(), result).rowcount for result in results)
    if confirmed != len(results):
        lost = (held for held, _ in finished if not already_done(connection, held))
        raise _lost(next(lost, finished[0][0]))  # where all are done, they were done before


@cache
def _confirmation() -> Update:
    return (
        update(run)
        .where(_holds(run.c.id == bindparam("held_id"), bindparam("held_token")))
        .values(
            state=RunState.DONE.value,
            health=Health.OK.value,
            lease_until=None,
            error_code=None,
            error=None,
            **{name: bindparam(name) for name in ("finished_at", "rows_read", "newest", "result", "alert_states")},
        )
    )


def already_done(connection: Connection, held: Claim) -> bool:
    """Whether this very claim was confirmed: what to ask when the answer to a commit was lost."""
    done = connection.execute(
        select(run.c.id).where(has_key(held.key), run.c.token == held.token, run.c.state == RunState.DONE.value)
    )
    return done.one_or_none() is not None


def postpone(connection: Connection, held: Claim, delay: timedelta, *, error_code: str, error: str) -> None:
    """Due again after `delay`, health `error`; the attempt is given back. Raises LeaseLost."""
    again = {"next_at": now(connection) + delay, "attempts": run.c.attempts - 1, "postponed": run.c.postponed + 1}
    _end(connection, held, RunState.DUE, {**again, "error_code": error_code, "error": error})


def retry(connection: Connection, held: Claim, delay: timedelta, *, error_code: str, error: str) -> RunState:
    """After an error of our own: due again, or failed when that was the last attempt. Raises LeaseLost."""
    if held.attempt >= MAX_ATTEMPTS:
        fail(connection, held, error_code=error_code, error=error)
        return RunState.FAILED
    again = {"next_at": now(connection) + delay}
    _end(connection, held, RunState.DUE, {**again, "error_code": error_code, "error": error})
    return RunState.DUE


def fail(connection: Connection, held: Claim, *, error_code: str, error: str) -> None:
    """Given up. Raises LeaseLost."""
    ended = {"finished_at": now(connection)}
    _end(connection, held, RunState.FAILED, {**ended, "error_code": error_code, "error": error})


def release(connection: Connection, held: Claim) -> bool:
    """Give the run back untouched; False where it was lost already, or has ended."""
    released = connection.execute(
        update(run)
        .where(_is_held(held))
        .values(state=RunState.DUE.value, lease_until=None, next_at=held.next_at, attempts=run.c.attempts - 1)
    )
    return released.rowcount == 1


def _end(connection: Connection, held: Claim, state: RunState, values: Mapping[str, Any]) -> None:
    """End the claim without a result."""
    ended = update(run).where(_is_held(held)).values(state=state.value, health=Health.ERROR.value, lease_until=None)
    if connection.execute(ended.values(**values)).rowcount != 1:
        raise _lost(held)


def _lost(held: Claim) -> LeaseLost:
    return LeaseLost(
        f"monitor {held.key.monitor}, window {held.key.window_end.isoformat()}, revision {held.key.revision}: "
        f"the lease with token {held.token} has passed on; nothing was written"
    )


@cache
def _claiming(*, by_key: bool, among: bool) -> ReturningUpdate[Any]:
    conditions = [_is_first(_MOMENT)]
    if by_key:
        wanted = (
            run.c.monitor == bindparam("wanted_monitor"),
            run.c.window_end == bindparam("wanted_end"),
            run.c.revision == bindparam("wanted_revision"),
        )
        conditions += [*wanted, or_(run.c.state == RunState.DUE.value, _is_abandoned(_MOMENT))]
    else:
        enabled = select(monitor.c.name).where(monitor.c.name == run.c.monitor, monitor.c.enabled).exists()
        conditions += [
            or_(and_(run.c.state == RunState.DUE.value, run.c.next_at <= _MOMENT), _is_abandoned(_MOMENT)),
            enabled,
        ]
    if among:
        conditions.append(run.c.monitor.in_(bindparam("monitors", expanding=True)))
    # SKIP LOCKED is for PostgreSQL; SQLite leaves it out, its writers take turns.
    first = (
        select(run.c.id)
        .where(*conditions)
        .order_by(run.c.next_at, run.c.window_end, run.c.revision)
        .limit(1)
        .with_for_update(skip_locked=True)
        .correlate(None)
        .scalar_subquery()
    )
    return _TAKE.where(run.c.id == first).returning(run)


def _key(row: Any) -> RunKey:
    return RunKey(monitor=row.monitor, window_end=row.window_end, revision=row.revision)


def _claim(row: Row[Any], owner: str, moment: datetime) -> Claim:
    return Claim(
        id=row.id,
        key=_key(row),
        window_start=row.window_start,
        trigger=Trigger(row.trigger),
        config_hash=row.config_hash,
        owner=owner,
        token=row.token,
        attempt=row.attempts,
        postponed=row.postponed,
        next_at=row.next_at,
        claimed_at=moment,
        lease_until=row.lease_until,
    )


def _is_held(held: Claim) -> ColumnElement[bool]:
    return _holds(run.c.id == held.id, held.token)


def _holds(is_run: ColumnElement[bool], token: Any) -> ColumnElement[bool]:
    """The fence: the run is still in the term that the holder was given."""
    return and_(is_run, run.c.token == token, run.c.state == RunState.RUNNING.value)


def _is_abandoned(moment: datetime | BindParameter[Any]) -> ColumnElement[bool]:
    return and_(run.c.state == RunState.RUNNING.value, run.c.lease_until < moment)


def _is_first(moment: datetime | BindParameter[Any]) -> ColumnElement[bool]:
    other = run.alias("other")
    older = tuple_(other.c.window_end, other.c.revision) < tuple_(run.c.window_end, run.c.revision)
    elsewhere = and_(other.c.state == RunState.RUNNING.value, other.c.lease_until >= moment)
    return ~(
        select(other.c.id)
        .where(
            other.c.monitor == run.c.monitor,
            other.c.id != run.c.id,
            or_(and_(older, other.c.state.in_(UNFINISHED)), elsewhere),
        )
        .exists()
    )
