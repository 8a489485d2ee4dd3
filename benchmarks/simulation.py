"""Months of the service in minutes: its own planning, evaluating, storing and sending under a clock that is ours.

    python -m benchmarks.simulation --days 30 --seed 7

Two lives of the same monitors over the same rows: in one nothing happens, in the other something goes wrong every ten
minutes on average. Afterwards the two stores have to be equal, and the receivers have to know the same. Everything is
drawn from one seed: a life that differs is lived again by it, step by step.

kill      the process ends at a named step; the next one starts on the same store
store     statements of the store fail for a while
slow      a statement takes longer than the lease: another process takes the window over meanwhile
clock     the clock leaps ahead by an hour or a day for seconds, or is set back by an hour
reload    the configuration is loaded anew
refusal   the receiver refuses for a while
late      (in both lives) rows come minutes or hours after their time

One thread does everything. What the daemon does in threads of its own (renewing leases, watching) is not part of it;
the tests of whole processes have that.
"""

import argparse
import itertools
import random
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import event

from benchmarks.figures import unit
from drift_monitor.alerting.dispatch import deliver_next
from drift_monitor.alerting.repeat import repeat_due
from drift_monitor.alerting.self_monitoring import check_monitors
from drift_monitor.alerting.services import Services
from drift_monitor.app import open_services, open_sources
from drift_monitor.config.loading import load
from drift_monitor.daemon.settings import DaemonSettings
from drift_monitor.daemon.watchdog import ClockTrust, GapDetector
from drift_monitor.errors import DeliveryError, DeliveryFailure, LeaseLost, StoreError, StoreUnavailable
from drift_monitor.evaluation.attempt import attempt
from drift_monitor.evaluation.planning import plan_windows
from drift_monitor.store import leases
from drift_monitor.store.health import Replica, sign, take_over
from drift_monitor.telemetry.logs import Step

START = datetime(2026, 3, 2, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
PULSE = 10 * MINUTE  # the loop turns so often, and whenever something goes wrong
ROUND = 30 * MINUTE  # monitors are checked so often
LEASE = timedelta(seconds=30)
QUIET_HOURS = 8  # at the end: both lives catch up, and all revisions are made
SETTINGS = DaemonSettings()
FAULTS = ("kill", "kill", "store", "slow", "clock", "reload", "refusal")

CONFIG = """
store: {{url: "sqlite:///{folder}/drift.db"}}
sources: [{{name: shop, url: "sqlite:///{folder}/shop.db", time_zone: UTC}}]
receivers: [{{name: hook, webhook: {{url: "http://127.0.0.1:9/"}}}}]
monitors:
"""
MONITOR = """
  - name: m{number}
    source: shop
    query: SELECT at, x FROM arrived WHERE monitor = {number}
    time_column: at
    every: 1h
    window: 2h
    settle: 5m
    revise: 3
    catch_up: 48
    min_rows: 20
    reference: {{query: "SELECT x FROM training"}}
    features: [{{name: x, bins: {{edges: [0, 10, 20, 30, 40]}}}}]
    rules: [{{metric: psi, above: {above}, for: 1, keep_firing_for: 1}}]
"""


class Killed(BaseException):
    """The process is gone: whoever catches exceptions does not catch this."""


class SimulatedClock:
    """`true` is what everybody else sees; `error` is how far this machine's clock is from it."""

    def __init__(self) -> None:
        self.true = START
        self.error = timedelta(0)

    def now(self) -> datetime:
        return self.true + self.error

    def monotonic(self) -> float:
        return (self.true - START).total_seconds()


@dataclass
class Receiver:
    """What has come in, by id."""

    clock: SimulatedClock
    received: Counter[str] = field(default_factory=Counter)
    refuses_until: datetime = START

    def send(self, notification_id: str, body: Mapping[str, Any], at: datetime) -> None:
        if self.clock.true < self.refuses_until:
            raise DeliveryError("it refuses", reason=DeliveryFailure.SERVER_ERROR, retryable=True)
        self.received[notification_id] += 1


class Life:
    """One service over one shop, from the first hour to the last."""

    def __init__(self, folder: Path, days: int, monitors: int, seed: int, *, disturbed: bool) -> None:
        self.clock = SimulatedClock()
        self.receiver = Receiver(self.clock)
        self.faults: Counter[str] = Counter()
        self.evaluations = 0
        self._folder = folder
        self._end = START + timedelta(days=days) + QUIET_HOURS * HOUR
        self._random = random.Random(f"faults {seed}")
        self._disturbed = disturbed
        self._armed: Callable[[Step], None] = lambda step: None
        self._store_fails = 0
        build_shop(folder / "shop.db", days, monitors, seed)
        self._config = folder / "drift.yaml"
        # Rows come hours late in every fifth: revisions differ by when they are made, so their rules never fire.
        written = (MONITOR.format(number=n, above=0.2 if n % 5 else 1000) for n in range(monitors))
        self._config.write_text(CONFIG.format(folder=folder) + "".join(written))

    def live(self) -> None:
        """Until the end: processes come and go."""
        faults = self._moments()
        upcoming = next(faults)
        while self.clock.true < self._end:
            with suppress(Killed), self._process() as process:
                while self.clock.true < self._end:
                    self.clock.true = min(self.clock.true + PULSE, max(upcoming, self.clock.true))
                    self._set_arrival()
                    if self.clock.true >= upcoming:
                        upcoming = next(faults)
                        self._disturb(process)
                    process.turn()

    def _moments(self) -> Iterator[datetime]:
        """When something goes wrong: every ten minutes on average, but for the first hour and the last ones."""
        moment = START + HOUR  # monitors begin with their first look at the clock
        while self._disturbed:
            moment += timedelta(seconds=self._random.expovariate(1 / 600))
            if moment >= self._end - QUIET_HOURS * HOUR:
                break
            yield moment
        while True:
            yield self._end

    @contextmanager
    def _process(self) -> Iterator["Process"]:
        with open_services(load(self._config), clock=self.clock, observe_step=self._observe) as services:
            event.listen(services.store.engine, "connect", _no_sync)
            own = replace(services, senders={"hook": self.receiver})
            own.store.transact(lambda conn: take_over(conn, own.owner))
            own.store.transact(lambda conn: sign(conn, Replica(owner=own.owner, version="1", config_hash="1")))
            whole = own.store.transact

            def failing(work: Callable[[Any], Any]) -> Any:
                if self._store_fails > 0:
                    self._store_fails -= 1
                    raise StoreUnavailable("the store is away")
                return whole(work)

            own.store.transact = failing  # type: ignore[method-assign]
            yield Process(self, own)

    def _observe(self, step: Step, path: str) -> None:
        if step is Step.FINISH_AFTER_COMMIT:
            self.evaluations += 1
        self._armed(step)

    def _disturb(self, process: "Process") -> None:
        kind = self._random.choice(FAULTS)
        self.faults[kind] += 1
        if kind == "kill":
            self._arm(self._random.choice(list(Step)), self._die)
        elif kind == "store":
            self._store_fails = self._random.randint(1, 5)
        elif kind == "slow":
            self._arm(Step.PANES_READ, self._overtaken)
        elif kind == "clock":
            self._leap(process)
        elif kind == "reload":
            process.reload()
        else:
            self.receiver.refuses_until = self.clock.true + self._random.randint(1, 40) * MINUTE

    def _arm(self, wanted: Step, act: Callable[[], None]) -> None:
        def when_reached(step: Step) -> None:
            if step is wanted:
                self._armed = lambda step: None
                act()

        self._armed = when_reached

    def _die(self) -> None:
        raise Killed

    def _overtaken(self) -> None:
        """Somebody else finds our lease over, and does the work."""
        self.clock.true += 2 * LEASE
        self._set_arrival()
        with self._process() as other:
            other.turn()

    def _leap(self, process: "Process") -> None:
        self.clock.error = self._random.choice([HOUR, timedelta(days=1), -HOUR])
        try:
            for _ in range(self._random.randint(1, 4)):
                process.turn()
                self.clock.true += timedelta(seconds=5)
        finally:  # a process that begins with a wrong clock can't know it
            self.clock.error = timedelta(0)

    def _set_arrival(self) -> None:
        with closing(sqlite3.connect(self._folder / "shop.db")) as shop, shop:
            shop.execute("UPDATE present SET seconds = ?", [(self.clock.true - START).total_seconds()])


class Process:
    """What the daemon does at a turn of its loop."""

    def __init__(self, life: Life, services: Services) -> None:
        self._life = life
        self._services = services
        self._trust = ClockTrust(services.clock, SETTINGS)
        self._gaps = GapDetector(2 * ROUND)
        self._checked = START - ROUND
        self._look_at: dict[str, datetime] = {}

    def turn(self) -> None:
        services = self._services
        if not self._trust.holds():
            return
        now = services.clock.now()
        with suppress(StoreError):
            for monitor in services.config.monitors:
                if now >= self._look_at.get(monitor.name, now):
                    self._look_at[monitor.name] = min(plan_windows(services, monitor).next_due, now + HOUR)
            self._evaluate()
            if not timedelta(0) <= now - self._checked < ROUND:
                self._checked = now
                check_monitors(services, self._gaps.watched_since(now))
                repeat_due(services)
            while deliver_next(services, receivers=["hook"]):
                pass

    def _evaluate(self) -> None:
        services = self._services
        names = [monitor.name for monitor in services.config.monitors]
        while claim := services.store.transact(lambda conn: leases.claim(conn, services.owner, LEASE, monitors=names)):
            services.observe_step(Step.CLAIM_AFTER_COMMIT, claim.key.monitor)
            with suppress(LeaseLost):
                attempt(services, services.config.monitor(claim.key.monitor), claim, notify_past=False)

    def reload(self) -> None:
        services = self._services
        config = load(services.config.path or Path())
        for source in services.sources.values():
            source.close()
        self._services = replace(services, config=config, sources=open_sources(config, services.clock))
        self._look_at = {}


def _no_sync(connection: sqlite3.Connection, entry: object) -> None:
    connection.execute("PRAGMA synchronous=OFF")


def build_shop(path: Path, days: int, monitors: int, seed: int) -> None:
    """Rows of every hour; in some stretches of hours they drift. `arrived` has those that have come by now."""
    draw = random.Random(f"rows {seed}")
    with closing(sqlite3.connect(path)) as shop, shop:
        shop.executescript(
            "CREATE TABLE events (monitor INTEGER, at TEXT, x INTEGER, arrives REAL);"
            "CREATE TABLE training (x INTEGER);"
            "CREATE TABLE present (seconds REAL); INSERT INTO present VALUES (0);"
            "CREATE INDEX events_at ON events (monitor, at);"
            "CREATE VIEW arrived AS SELECT monitor, at, x FROM events WHERE arrives <= (SELECT seconds FROM present)"
        )
        shop.executemany("INSERT INTO training VALUES (?)", [(draw.randrange(40),) for _ in range(2000)])
        for monitor in range(monitors):
            shop.executemany("INSERT INTO events VALUES (?, ?, ?, ?)", _rows(draw, monitor, days))


def _rows(draw: random.Random, monitor: int, days: int) -> Iterator[tuple[int, str, int, float]]:
    drifting = 0
    for hour in range(-3, days * 24 + QUIET_HOURS):
        drifting = max(drifting - 1, 0) or (draw.randint(2, 6) if draw.random() < 0.05 else 0)
        for _ in range(40):
            seconds = hour * 3600 + draw.random() * 3600
            late = 120.0 if draw.random() < 0.05 else 0.0
            if monitor % 5 == 0 and draw.random() < 0.02:
                late = 5400.0
            at = (START + timedelta(seconds=seconds)).isoformat(timespec="milliseconds")
            yield monitor, at, draw.randrange(10) if drifting else draw.randrange(40), seconds + late


# What must be equal, whatever has happened: nothing of it is about when, or how often it was tried.
COMPARED = {
    "windows": "SELECT monitor, window_end, state FROM run WHERE revision = 0",
    "measurements": """
        SELECT monitor, window_end, status, live_rows, live_counts, psi, kl_live_reference, kl_reference_live
          FROM measurement m WHERE revision = (SELECT max(revision) FROM measurement o
               WHERE (o.monitor, o.window_end, o.feature) = (m.monitor, m.window_end, m.feature))""",
    "episodes": """SELECT monitor, feature, rule, opened_window, closed_window, close_reason FROM drift_episodes
         WHERE rule <> 'ReceiverFailing'""",  # that one is about the faults themselves
    "messages": "SELECT id, monitor, window_end, state FROM outbox",
}


def differences(undisturbed: Life, disturbed: Life, folders: Sequence[Path]) -> Iterator[str]:
    """Each row that only one of the two has, and each message that was not received."""
    for what, statement in COMPARED.items():
        found = []
        for folder in folders:
            with closing(sqlite3.connect(folder / "drift.db")) as store:
                found.append(Counter(store.execute(statement).fetchall()))
        for said, rows in (("lost", found[0] - found[1]), ("too much", found[1] - found[0])):
            yield from (f"{what}: {said} {row}" for row in rows)
    for life, folder in zip((undisturbed, disturbed), folders, strict=True):
        with closing(sqlite3.connect(folder / "drift.db")) as store:
            written = {id for (id,) in store.execute("SELECT id FROM outbox")}
        yield from (f"messages: never received {id}" for id in sorted(written - set(life.receiver.received)))
        yield from (
            f"messages: received and never written {id}" for id in sorted(set(life.receiver.received) - written)
        )
    repeated = {id: times for id, times in undisturbed.receiver.received.items() if times > 1}
    yield from (f"messages: received {times} times without any fault {id}" for id, times in repeated.items())


def simulate(folder: Path, days: int, monitors: int, seed: int) -> tuple[list[str], Life]:
    """Both lives; what differs, and the disturbed one."""
    folders = [folder / name for name in ("undisturbed", "disturbed")]
    lives = []
    for number, place in enumerate(folders):
        place.mkdir()
        lives.append(Life(place, days, monitors, seed, disturbed=number == 1))
        lives[-1].live()
    return list(differences(*lives, folders)), lives[1]


def main() -> int:
    """0 where both lives end alike."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.simulation")
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--monitors", type=int, default=20)
    parser.add_argument("--seed", type=int, default=None, help="by default a new one, which is printed")
    given = parser.parse_args()
    seed = random.SystemRandom().randrange(10**6) if given.seed is None else given.seed
    print(f"seed {seed}: {given.days} days of {given.monitors} monitors", flush=True)
    measure, started = unit(), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        found, life = simulate(Path(folder), given.days, given.monitors, seed)
    seconds = time.process_time() - started
    faults = ", ".join(f"{count} {kind}" for kind, count in sorted(life.faults.items()))
    print(f"{life.evaluations} evaluations, {life.faults.total()} faults ({faults})")
    print(f"{seconds:.0f} s of CPU, {seconds / measure:.0f} u")
    for line in itertools.islice(found, 20):
        print(line)
    print("equal" if not found else f"{len(found)} differences; live it again with --seed {seed}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
