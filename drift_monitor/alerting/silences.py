"""Silence alerts for a while, and acknowledge one: what operators ask for by command line and HTTP.

A silence keeps back what has not been sent yet: alerts that begin to fire, and repeats. A receiver that was sent the
beginning is also sent the end. Everything kept back stays in the outbox as `suppressed`, and an alert that still fires
when its silence ends is sent then.

Whether a silence could match anything at all is found from the labels that the alerts of a configuration can have,
firing or not. Monitors that have left the configuration and features that were renamed are not considered.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from drift_monitor.alerting.annotations import SelfAlert, drift_labels, self_labels
from drift_monitor.config.fields import RESERVED_LABELS
from drift_monitor.config.schema import Config, MonitorConfig
from drift_monitor.core.matching import Matcher, check_matchers, match_all
from drift_monitor.core.times import clean_text, rfc3339
from drift_monitor.errors import AlreadyOver, InputError, UnknownId
from drift_monitor.store import acknowledgements, alerts, silences
from drift_monitor.store.acknowledgements import Acknowledgement
from drift_monitor.store.connection import Store, Transaction
from drift_monitor.store.silences import Silence, SilenceState

MAX_MATCHERS: Final = 50  # each is held against each alert
MAX_OPEN: Final = 1000  # silences: each is held against each alert, in memory
MAX_WORDS: Final = 2000  # characters of an author or comment
LONGEST: Final = timedelta(days=366)  # a longer silence is a rule that should be removed
OWN_LABELS = RESERVED_LABELS | {"rule"}


def add_silence(
    store: Store,
    matchers: Sequence[Matcher],
    *,
    starts_at: datetime | None = None,
    ends_at: datetime | None = None,
    duration: timedelta | None = None,
    author: str,
    comment: str,
) -> Silence:
    """Silence from now or `starts_at` on, until `ends_at` or for `duration`; raises InputError."""
    if len(matchers) > MAX_MATCHERS:
        raise InputError(f"the silence has {len(matchers)} matchers, at most {MAX_MATCHERS} are allowed")
    check_matchers(matchers)
    author, comment = _words("author", author), _words("comment", comment)

    def work(conn: Transaction) -> Silence:
        now = store.now(conn)  # the database owns the clock: replicas must agree when it holds
        start = starts_at or now
        end = ends_at if ends_at is not None else _after(start, duration)
        _check_times(start, end, now)
        if silences.count_open(conn) >= MAX_OPEN:
            raise InputError(f"there are {MAX_OPEN} silences that hold or will hold; end some before you add another")
        made = silences.add(conn, matchers=matchers, starts_at=start, ends_at=end, author=author, comment=comment)
        silences.note(conn, actor=author, action="add silence", subject=made.id)
        return made

    return store.transact(work)


def expire_silence(store: Store, id: str, *, actor: str) -> Silence:
    """End a silence now; raises InputError where there is none, or it has ended."""

    def work(conn: Transaction) -> Silence:
        was_open = silences.expire(conn, id)
        silence = silences.find(conn, id)
        if silence is None:
            raise UnknownId(f"no silence has the id {id!r}; the list of silences shows them")
        if not was_open:
            raise AlreadyOver(f"the silence {id} has ended at {rfc3339(silence.ends_at)} already")
        silences.note(conn, actor=actor, action="end silence", subject=id)
        return silence

    return store.transact(work)


def list_silences(store: Store, *, with_expired: bool) -> Sequence[tuple[Silence, SilenceState]]:
    """The silences, each with its present state."""
    with store.read() as conn:
        now = store.now(conn)
        return [(silence, silence.state(now)) for silence in silences.listed(conn, with_expired=with_expired)]


def acknowledge_alert(store: Store, episode_id: str, *, author: str, comment: str) -> Acknowledgement:
    """Acknowledge a firing alert, so that it is not repeated; raises InputError where it does not fire."""
    author, comment = _words("author", author), _words("comment", comment)

    def work(conn: Transaction) -> Acknowledgement:
        _check_fires(conn, episode_id)
        silences.note(conn, actor=author, action="acknowledge", subject=episode_id)
        return acknowledgements.acknowledge(conn, episode_id, author=author, comment=comment)

    return store.transact(work)


def withdraw_acknowledgement(store: Store, episode_id: str, *, actor: str) -> None:
    """Let a firing alert be repeated again; raises InputError where it was not acknowledged."""

    def work(conn: Transaction) -> None:
        _check_fires(conn, episode_id)
        if not acknowledgements.withdraw(conn, episode_id):
            raise AlreadyOver(f"the alert {episode_id} is not acknowledged by anybody")
        silences.note(conn, actor=actor, action="withdraw acknowledgement", subject=episode_id)

    store.transact(work)


def covering(active: Sequence[Silence], labels: Mapping[str, str]) -> Silence | None:
    """The silence that keeps back an alert with these labels, or None."""
    return next((silence for silence in active if silence.covers(labels)), None)


def label_names(config: Config) -> frozenset[str]:
    """The labels that an alert may have: ours, and those of the configured monitors."""
    return OWN_LABELS.union(*(monitor.labels for monitor in config.monitors))


def reaches(config: Config, matchers: Sequence[Matcher]) -> bool:
    """Whether the matchers match any alert that a configured monitor can have."""
    # What features `all` finds is known only to the database: for such a monitor any name is possible.
    without_feature = [matcher for matcher in matchers if matcher.name != "feature"]
    return any(
        match_all(without_feature if monitor.features == "all" else matchers, labels)
        for monitor in config.monitors
        for labels in _possible_labels(monitor)
    )


def _possible_labels(monitor: MonitorConfig) -> Iterator[Mapping[str, str]]:
    """The labels of each alert that this monitor can have."""
    features = [""] if monitor.features == "all" else [feature.name for feature in monitor.features]
    for rule in monitor.rules:
        for feature in [""] if rule.metric.is_of_monitor else features:
            yield drift_labels(monitor, feature, "", rule)
    for kind in SelfAlert:
        yield self_labels(monitor, kind.value)


def _check_fires(conn: Transaction, episode_id: str) -> None:
    episode = alerts.find_episode(conn, episode_id)
    if episode is None:
        raise UnknownId(f"no alert that fired has the id {episode_id!r}; the list of alerts shows those that fire")
    if episode.closed_window is not None:
        raise AlreadyOver(f"the alert {episode_id} was over at {rfc3339(episode.closed_window)} already")


def _after(start: datetime, duration: timedelta | None) -> datetime:
    if duration is None:
        raise InputError("a silence needs an end: say until when or for how long")
    try:
        return start + duration
    except OverflowError:
        raise InputError(f"a silence from {rfc3339(start)} on can't last that long: the calendar ends before") from None


def _check_times(start: datetime, end: datetime, now: datetime) -> None:
    if end <= start:
        raise InputError(f"the silence ends at {rfc3339(end)}, which is not after its start {rfc3339(start)}")
    if end <= now:
        raise InputError(f"the silence ends at {rfc3339(end)}, which is past")
    if end - start > LONGEST:
        raise InputError(
            f"the silence lasts {(end - start).days} days, at most {LONGEST.days} are allowed; "
            "for longer, take the rule out of the configuration"
        )


def _words(name: str, text: str) -> str:
    """Text that a person wrote, on one line or several; empty or endless text is refused."""
    # Line breaks stay: a comment may be a paragraph. NUL and lone surrogates no store can hold.
    words = re.sub(r"[^\S\n]+", " ", clean_text(text)).strip()
    if not words:
        raise InputError(f"{name}: is empty; others need to know")
    if len(words) > MAX_WORDS:
        raise InputError(f"{name}: has {len(words)} characters, at most {MAX_WORDS} are kept")
    return words
