"""What a service has left behind, compared with an undisturbed run, and what must hold of every one by itself.

Every table of the store is compared, all columns but those that say when, by whom and in which try: a column or table
that comes later is compared too, until somebody decides otherwise here.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Table, select

from drift_monitor.store.connection import Store
from drift_monitor.store.schema import delivery, metadata, outbox, pane, pane_series, replica, run
from drift_monitor.telemetry.logs import Step
from tests.processes.processes import Post

VOLATILE: Mapping[str, frozenset[str]] = {
    "configuration": frozenset({"first_seen"}),
    "monitor": frozenset({"updated_at", "enabled_at"}),
    "episode": frozenset({"closed_at"}),
    "notification_log": frozenset({"at", "delivered_at"}),
    "reference": frozenset({"built_at"}),
    "pane_series": frozenset({"id"}),
    "pane": frozenset({"read_at"}),
    "pane_rows": frozenset({"read_at"}),
    "run": frozenset(
        {
            *("attempts", "postponed", "owner", "token", "lease_until"),
            *("next_at", "planned_at", "started_at", "finished_at"),
        }
    ),
    "outbox": frozenset({"seq", "attempts", "owner", "token", "lease_until", "next_at", "created_at", "sent_at"}),
}

# How often a notification was tried differs; that each was accepted is looked at by itself. Signs of life are no data.
COMPARED = [table for table in metadata.sorted_tables if table is not delivery and table is not replica]

Row = tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The store's rows, what the receivers got, and the steps all processes went through."""

    tables: Mapping[str, Sequence[Row]]
    runs: Sequence[Mapping[str, Any]]
    outbox: Sequence[Mapping[str, Any]]
    deliveries: Sequence[Mapping[str, Any]]
    posts: Sequence[Post]
    steps: Sequence[tuple[str, str]]


def read_outcome(store: Store, posts: Sequence[Post], steps: Iterable[tuple[str, str]]) -> Outcome:
    """Everything, in one snapshot of the store."""
    with store.read() as connection:
        rows = {
            table.name: [dict(row._mapping) for row in connection.execute(select(table))]
            for table in metadata.sorted_tables
        }
        ordered = [dict(row._mapping) for row in connection.execute(select(outbox).order_by(outbox.c.seq))]
    series = {one["id"]: _row(pane_series, one) for one in rows["pane_series"]}
    for one in rows[pane.name]:
        one["series"] = series[one["series"]]
    return Outcome(
        tables={table.name: sorted(_row(table, one) for one in rows[table.name]) for table in COMPARED},
        runs=rows[run.name],
        outbox=ordered,
        deliveries=rows["delivery"],
        posts=posts,
        steps=list(steps),
    )


def _row(table: Table, values: Mapping[str, Any]) -> Row:
    left_out = VOLATILE.get(table.name, frozenset())
    return tuple((column.name, _plain(values[column.name])) for column in table.c if column.name not in left_out)


def _plain(value: Any) -> str:
    return repr(value.tolist() if hasattr(value, "tolist") else value)


def differences(undisturbed: Outcome, found: Outcome) -> list[str]:
    """Where what is found differs from what should be; empty where it does not."""
    told: list[str] = []
    for name, expected in undisturbed.tables.items():
        wanted, have = Counter(expected), Counter(found.tables[name])
        told += [f"{name}: missing {dict(row)}" for row in (wanted - have).elements()]
        told += [f"{name}: too much {dict(row)}" for row in (have - wanted).elements()]
    wanted_posts, have_posts = {(one.id, one.body) for one in undisturbed.posts}, {(p.id, p.body) for p in found.posts}
    told += [f"never received: {id} {body}" for id, body in wanted_posts - have_posts]
    told += [f"received, but not to be: {id} {body}" for id, body in have_posts - wanted_posts]
    return told


def violations(found: Outcome) -> list[str]:
    """What is wrong with an outcome whatever the data are; empty where nothing is."""
    return [*_wrong_runs(found), *_wrong_notifications(found), *_wrong_order(found)]


def _wrong_runs(found: Outcome) -> Iterable[str]:
    finished = Counter(path for step, path in found.steps if step == Step.FINISH_AFTER_COMMIT.value)
    for path, times in finished.items():
        if times > 1:
            yield f"window {path} took effect {times} times"
    for one in found.runs:
        if one["state"] != "done":
            yield f"run {one['monitor']} {one['window_end']} is {one['state']}: {one['error']}"
        if one["lease_until"] is not None:
            yield f"run {one['monitor']} {one['window_end']} still has a lease"


def _wrong_notifications(found: Outcome) -> Iterable[str]:
    received = {one.id for one in found.posts}
    accepted = {one["outbox_id"] for one in found.deliveries if one["outcome"] == "sent"}
    for one in found.outbox:
        if one["state"] != "sent":
            yield f"notification {one['id']} is {one['state']}"
        if one["id"] not in received:
            yield f"notification {one['id']} never arrived"
        if one["id"] not in accepted:
            yield f"notification {one['id']} has no accepted delivery"
    known = {one["id"] for one in found.outbox}
    for post in found.posts:
        if post.id not in known:
            yield f"notification {post.id} was received and is not in the outbox"
    bodies: defaultdict[str, set[str]] = defaultdict(set)
    for post in found.posts:
        bodies[post.id].add(post.body)
    yield from (f"notification {id} came with different bodies" for id, all_ in bodies.items() if len(all_) > 1)


def _wrong_order(found: Outcome) -> Iterable[str]:
    """For each monitor and receiver, notifications come first in the order of the outbox."""
    for key, ids in _arrivals(found).items():
        yield from _told_order(found, key, list(dict.fromkeys(ids)))


def late_repeats(found: Outcome) -> list[str]:
    """Where a notification came again after a later one: only a sender that was paused may do that."""
    told: list[str] = []
    for key, ids in _arrivals(found).items():
        told += _told_order(found, key, [id for id, before in zip(ids, [None, *ids], strict=False) if id != before])
    return told


def _arrivals(found: Outcome) -> Mapping[tuple[str, str], list[str]]:
    arrived: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for post in found.posts:
        arrived[post.monitor, post.receiver].append(post.id)
    return arrived


def _told_order(found: Outcome, key: tuple[str, str], ids: Sequence[str]) -> Iterable[str]:
    written = [one["id"] for one in found.outbox if (one["monitor"], one["receiver"]) == key]
    if ids != written:
        yield f"{key}: received in the order {ids}, written in the order {written}"
