"""Statements against a user's database: read-only, one short transaction each, never more connections than allowed.

A statement that hangs is ended from here: the server has its own limit, and a little later the client shuts the
connection, which also helps where the network swallows everything (no answer, no reset). Conflicts with the
database's own business (deadlock, recovery) are tried again at once, a few times; a connection that was dead when it
came out of the pool is replaced once. `cancel` ends what runs and refuses what comes, for a quick shutdown.
"""

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from drift_monitor.errors import FailureReason, SourceError, SourceTimeout, SourceUnavailable
from drift_monitor.sources.dataset import failure
from drift_monitor.sources.dialects.base import Dialect, ErrorKind, SourceLimits, StatementRefused
from drift_monitor.sources.dialects.elements import ResultRows

Result = TypeVar("Result")

ATTEMPTS = 3
PAUSE_SECONDS = 0.2  # before a conflict is tried again, times a random factor
CANCEL_AGAIN_SECONDS = 0.2  # a statement that is only about to begin does not notice the first time
REASONS = {
    ErrorKind.TABLE_MISSING: FailureReason.TABLE_MISSING,
    ErrorKind.COLUMN_MISSING: FailureReason.COLUMN_MISSING,
    ErrorKind.PERMISSION: FailureReason.PERMISSION,
    ErrorKind.QUERY: FailureReason.QUERY_FAILED,
}


@dataclass(eq=False)
class _Running:
    """One statement under way on one driver connection."""

    connection: Any
    deadline: float  # by the monotonic clock
    expired: bool = False


class Session:
    """Runs statements for one source."""

    def __init__(self, name: str, engine: sa.Engine, dialect: Dialect, limits: SourceLimits) -> None:
        self.name = name
        self.dialect = dialect
        self._engine = engine
        self._limits = limits
        self._lock = threading.Lock()
        self._running: list[_Running] = []
        self.last_ended = time.monotonic()  # when a statement last ended, however it did
        self._is_watched = False
        self._is_closed = False
        self._look = threading.Event()  # wakes the watch before its time
        self._cancelled = threading.Event()
        self._driver_error: type[Exception] = engine.dialect.loaded_dbapi.Error

    def run(
        self,
        statement: sa.Executable,
        take: Callable[[ResultRows], Result],
        *,
        many_rows: bool = False,
    ) -> Result:
        """Run one statement and hand its result to `take`; both have one deadline.

        `many_rows` says that the statement is worth the database's costlier preparations (compiling, parallel plans).
        Raises SourceUnavailable, SourceTimeout, or StatementRefused for whoever knows the statement's subject.
        """
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._attempt(statement, take, many_rows)
            except DBAPIError as error:
                if not self._worth_another(error, attempt):
                    raise self._translated(error) from error
            except SQLAlchemyError as error:  # the pool was exhausted, or the URL is no use
                first_line = str(error).partition("\n")[0]
                raise SourceUnavailable(f"source {self.name!r}: {first_line}") from error
            self._cancelled.wait(PAUSE_SECONDS * (1 + random.random()))  # noqa: S311 - jitter, no secret
        raise AssertionError("the last attempt returns or raises")

    def ask(self, statement: sa.Executable) -> Sequence[Any]:
        """All rows of a statement about the database as a whole: who is refused that can't use it at all."""
        try:
            return self.run(statement, lambda result: result.fetchall())
        except StatementRefused as refused:
            raise SourceUnavailable(f"source {self.name!r}: {refused.failure.detail}") from refused

    def cancel(self) -> None:
        """End every running statement and refuse further ones."""
        self._cancelled.set()
        self._cancel_running()

    def _cancel_running(self) -> None:
        """Again and again until nothing runs."""
        with self._lock:
            running = list(self._running)
        for statement in running:
            self.dialect.cancel(statement.connection)
        if running:
            again = threading.Timer(CANCEL_AGAIN_SECONDS, self._cancel_running)
            again.daemon = True
            again.start()

    def close(self) -> None:
        """Give every connection back to the database. What still runs, as at a reload, keeps its deadline."""
        self._is_closed = True
        self._look.set()
        self._engine.dispose()

    def _attempt(self, statement: sa.Executable, take: Callable[[ResultRows], Result], many_rows: bool) -> Result:
        if self._cancelled.is_set():
            raise SourceUnavailable(f"source {self.name!r}: reading was cancelled because the program ends")
        with self._connected() as connection, self._guarded(connection):
            result = self._execute(connection, statement, many_rows)
            try:
                return take(result)
            except self._driver_error as error:  # `take` may fetch from the driver's own cursor
                raise DBAPIError.instance(None, None, error, self._driver_error) from error
            except UnicodeDecodeError as error:
                detail = f"a text in it is not in the encoding {error.encoding}"
                raise StatementRefused(failure(FailureReason.QUERY_FAILED, detail)) from error
            finally:
                result.close()

    def _connected(self) -> sa.Connection:
        try:
            return self._engine.connect()
        except DBAPIError as error:
            if self.dialect.classify(error) is not ErrorKind.QUERY:
                raise
            # The driver would not even try: an option it does not know, or one with a value that is none.
            detail = self.dialect.describe_error(error)
            raise SourceUnavailable(f"source {self.name!r}: {detail}; check its URL") from error

    def _execute(self, connection: sa.Connection, statement: sa.Executable, many_rows: bool) -> ResultRows:
        """The result of a statement whose transaction is over: a server has sent it all by then.

        It is rolled back, as there is nothing to keep: what a function of the user's has set goes with it.
        """
        try:
            with connection.begin() as transaction:
                self.dialect.begin(connection, self._limits, many_rows=many_rows)
                result = connection.execute(statement)
                transaction.rollback()
            return result
        finally:
            if not connection.invalidated:
                self.dialect.leave(connection)

    @contextmanager
    def _guarded(self, connection: sa.Connection) -> Iterator[None]:
        """Shut the connection when the deadline passes; whatever error that causes is a time-out."""
        statement = _Running(connection.connection.dbapi_connection, time.monotonic() + self._seconds)
        try:
            with self._lock:
                if not self._is_watched:
                    self._begin_watch()
                self._running.append(statement)
            yield
        except Exception as error:
            if statement.expired:
                raise self._expired() from error
            raise
        finally:
            with self._lock:
                if statement in self._running:
                    self._running.remove(statement)
                self.last_ended = time.monotonic()

    def _begin_watch(self) -> None:
        try:
            threading.Thread(target=self._watch, name="deadlines", daemon=True).start()
        except RuntimeError as error:  # without a watch nothing is begun that might never end
            text = f"source {self.name!r}: no thread can be started ({error})"
            raise SourceUnavailable(text) from error
        self._is_watched = True

    @property
    def _seconds(self) -> float:
        """What a statement has until its connection is shut."""
        return (self._limits.statement_timeout + self.dialect.deadline_grace).total_seconds()

    def _watch(self) -> None:
        """Wait for the next deadline, again and again. All statements have the same time: later ones end later."""
        pause = self._seconds
        while True:
            self._look.wait(pause)
            self._look.clear()
            now = time.monotonic()
            with self._lock:  # a connection that was given back meanwhile may be running somebody else's statement
                for statement in self._running:
                    if statement.deadline <= now and not statement.expired:
                        statement.expired = True
                        with suppress(Exception):  # a connection that is lost by now needs no end; the watch goes on
                            self.dialect.abort(statement.connection)
                if self._is_closed and not self._running:
                    self._is_watched = False
                    return
                left = [statement.deadline - now for statement in self._running if not statement.expired]
            pause = min(left, default=self._seconds)

    def _worth_another(self, error: DBAPIError, attempt: int) -> bool:
        if attempt == ATTEMPTS or self._cancelled.is_set():
            return False
        kind = self.dialect.classify(error)
        return kind is ErrorKind.CONFLICT or (error.connection_invalidated and attempt == 1)

    def _translated(self, error: DBAPIError) -> Exception:
        if self._cancelled.is_set():
            return SourceUnavailable(f"source {self.name!r}: reading was cancelled because the program ends")
        kind = self.dialect.classify(error)
        if kind is ErrorKind.TIMEOUT:
            return self._timeout()
        if kind is ErrorKind.LOCKED:
            return SourceTimeout(
                f"source {self.name!r}: a table is locked by another session (ALTER TABLE, VACUUM FULL, LOCK)"
            )
        detail = self.dialect.describe_error(error)
        if kind in (ErrorKind.UNAVAILABLE, ErrorKind.CONFLICT):
            return SourceUnavailable(f"source {self.name!r}: {detail}")
        return StatementRefused(failure(REASONS[kind], detail))

    def _expired(self) -> SourceError:
        """What it means that the client had to end a statement: a server would have ended a slow one before."""
        if not self.dialect.deadline_grace:
            return self._timeout()
        return SourceUnavailable(
            f"source {self.name!r}: no answer for {self._seconds:g} s, and the server did not end the statement by its "
            "own limit: the server or the network between is silent"
        )

    def _timeout(self) -> SourceTimeout:
        seconds = self._limits.statement_timeout.total_seconds()
        return SourceTimeout(
            f"source {self.name!r}: a statement took longer than its limit of {seconds:g} s; "
            "index the time column, or raise statement_timeout"
        )
