"""Whether the store can be written, found out by writing: a thread that leaves a sign of life every few seconds.

Reads prove nothing: a full disk, a read-only file and another's write lock all let them pass. The sign goes through a
connection of its own, so that neither our own long transaction nor a lack of connections is taken for a store that is
down, and with a short deadline, so that a silent server is noticed at once.

down     two signs in a row have failed, or nothing moves in a pool whose connections are all taken, or the file is
         known to be damaged
busy     we hold the write lock ourselves, or one of our commands does (migrate, vacuum): neither up nor down

The signs are rows of `replica`, which also tell with which configuration each process runs.
"""

import logging
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, column, delete, select, table, update

from drift_monitor.clock import Clock
from drift_monitor.errors import StoreBusy, StoreError
from drift_monitor.store.columns import upsert
from drift_monitor.store.connection import Store, now
from drift_monitor.store.schema import VERSION_TABLE, outbox, replica, run
from drift_monitor.telemetry.logs import ERROR, INFO, WARN, log, log_failure
from drift_monitor.telemetry.metrics import Telemetry

_logger = logging.getLogger(__name__)
EVERY: Final = timedelta(seconds=5)
DEADLINE: Final = timedelta(seconds=3)
MISSES: Final = 2  # one may be a restart of the server
LONGEST_COMMIT: Final = timedelta(minutes=1)  # of our own, that excuses a miss
GONE_AFTER: Final = timedelta(minutes=1)  # a replica that has given no sign for so long is not running
KEPT: Final = timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class Replica:
    """One process of the service. `owner` is new at every start; `seen_at` is by the store's clock."""

    owner: str
    version: str
    config_hash: str
    host: str = socket.gethostname()
    seen_at: datetime | None = None


def sign(connection: Connection, own: Replica) -> None:
    """Note that this process is alive."""
    moment = now(connection)
    row = {"owner": own.owner, "host": own.host, "version": own.version, "config_hash": own.config_hash}
    upsert(connection, replica, row | {"started_at": moment, "seen_at": moment}, keep=("started_at",))


def sign_off(connection: Connection, owner: str) -> None:
    """This process ends; those that died long ago are forgotten with it."""
    gone = now(connection) - KEPT
    connection.execute(delete(replica).where((replica.c.owner == owner) | (replica.c.seen_at < gone)))


def take_over(connection: Connection, owner: str) -> None:
    """End what other processes of the service hold: the caller knows that none of them lives."""
    dead = select(replica.c.owner).where(replica.c.owner != owner)
    moment = now(connection)
    for held in (run, outbox):
        ended = update(held).where(held.c.owner.in_(dead), held.c.lease_until >= moment)
        connection.execute(ended.values(lease_until=moment - timedelta(seconds=1)))
    connection.execute(delete(replica).where(replica.c.owner != owner))


def running(connection: Connection) -> Sequence[Replica]:
    """The replicas that were seen lately, by host and owner."""
    lately = replica.c.seen_at > now(connection) - GONE_AFTER
    rows = connection.execute(select(replica).where(lately).order_by(replica.c.host, replica.c.owner))
    return [
        Replica(owner=row.owner, version=row.version, config_hash=row.config_hash, host=row.host, seen_at=row.seen_at)
        for row in rows
    ]


class StoreProbe:
    """Looks after one store, which it tells of its health; `replica` is this process as it is configured now."""

    def __init__(self, store: Store, own: Replica, clock: Clock, telemetry: Telemetry) -> None:
        self.replica = own
        self._store = store
        self._clock = clock
        self._telemetry = telemetry
        self._own_way = Store(store.url.render_as_string(hide_password=False), clock, pool_size=1, deadline=DEADLINE)
        self._misses = 0
        self._movements = -1
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="store-probe", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """No further sign; the last one is taken back where the store still answers."""
        self._stopped.set()
        if self._thread.ident:
            self._thread.join(DEADLINE.total_seconds())
        if not self._thread.is_alive() and self._store.problem is None:
            try:
                with self._own_way.begin() as connection:
                    sign_off(connection, self.replica.owner)
            except StoreError as error:
                log(_logger, INFO, "no_sign_off", f"The store does not know that this process ends: {error}")
        self._own_way.close()

    def look(self) -> None:
        """One sign, and what follows from it."""
        problem, is_excused = self._store.damage or self._stuck(), False
        try:
            with self._own_way.begin() as connection:
                sign(connection, self.replica)
                self._compare(running(connection))
                self._check_schema(connection)
        except StoreError as error:
            problem = str(error)
            is_excused = isinstance(error, StoreBusy) and self._store.is_busy(LONGEST_COMMIT)
        finally:
            if self._store.path is not None:
                self._own_way.engine.dispose()  # an open file would hide that another one lies there now, or none
        if problem is None:
            self._misses = 0
            self._tell(None)
        elif not is_excused:
            self._misses += 1
            if self._misses >= MISSES or self._store.damage:
                self._tell(problem)

    def _watch(self) -> None:
        while True:
            started = time.monotonic()
            try:
                self.look()
                self._measure_room()
            except Exception as error:  # noqa: BLE001 a probe that dies would leave its last answer for ever
                log_failure(_logger, ERROR, "probe_failed", "The store could not be looked after.", error)
                self._tell(f"store {self._store.name} could not be looked after: {error}")
            if self._stopped.wait(max(0.0, EVERY.total_seconds() - (time.monotonic() - started))):
                return

    def _compare(self, replicas: Sequence[Replica]) -> None:
        others = [other for other in replicas if other.config_hash != self.replica.config_hash]
        self._telemetry.replicas(len(replicas), others=len(others))
        if others:
            hosts = ", ".join(sorted({other.host for other in others}))
            said = "Other replicas run another configuration; give all of them the same file."
            log(_logger, WARN, "config_differs", said, hosts=hosts)

    def _check_schema(self, connection: Connection) -> None:
        """Another version may migrate a PostgreSQL store under its replicas: what they write then may be wrong."""
        found = connection.execute(select(column("version_num")).select_from(table(VERSION_TABLE))).scalar()
        if found != self._store.schema and self._store.schema is not None:
            self._store.outdated = (
                f"store {self._store.name} has been migrated from schema {self._store.schema} to {found} by another "
                "version; this process stops, start that version instead"
            )

    def _stuck(self) -> str | None:
        """What to say where all connections are taken and none has come back since the last look."""
        movements, self._movements = self._movements, self._store.movements
        is_still = self._store.is_exhausted and movements == self._store.movements
        if is_still and not self._store.is_busy(LONGEST_COMMIT):  # else they wait for a commit of ours
            return f"store {self._store.name}: all connections are in use, and none comes back"
        return None

    def _tell(self, problem: str | None) -> None:
        before, self._store.problem = self._store.problem, problem
        self._telemetry.store_up(up=problem is None)
        if problem is not None:
            log(_logger, ERROR, "store_down", problem)
        elif before is not None:
            log(_logger, INFO, "store_up", "The store can be written again.", store=self._store.name)

    def _measure_room(self) -> None:
        free = self._store.free_bytes
        if free is not None:
            self._telemetry.store_free_bytes(free)
