"""A user's database, only ever read: what the rest of the program asks of it."""

from collections.abc import Mapping, Sequence
from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from drift_monitor.clock import Clock
from drift_monitor.core.binning import Profile
from drift_monitor.core.schedule import Span
from drift_monitor.errors import FeatureError, SourceUnavailable
from drift_monitor.sources.catalog import Catalog
from drift_monitor.sources.dataset import Counter, Dataset, Description, FeatureColumn, Reading
from drift_monitor.sources.dialects.base import ColumnInfo, Dialect, SourceLimits
from drift_monitor.sources.dialects.postgresql import PostgreSQL
from drift_monitor.sources.dialects.sqlite import SQLite
from drift_monitor.sources.profile import Profiler
from drift_monitor.sources.reading import Reader
from drift_monitor.sources.session import Session

DIALECTS: Mapping[str, type[Dialect]] = {dialect.name: dialect for dialect in (PostgreSQL, SQLite)}


class Source:
    """One source by its URL. Nothing is connected to before it is asked for.

    Safe to use from several threads; at most `max_connections` of them read at a time, the others wait.
    """

    def __init__(
        self,
        name: str,
        url: str,
        *,
        max_connections: int,
        statement_timeout: timedelta,
        clock: Clock,
    ) -> None:
        try:
            address = sa.make_url(url)
        except (ArgumentError, ValueError) as error:  # a port that is no number
            text = f"source {name!r}: its URL can't be parsed; write dialect://user@host/database"
            raise SourceUnavailable(text) from error
        backend = address.get_backend_name()
        if backend not in DIALECTS:
            known = ", ".join(sorted(DIALECTS))
            raise SourceUnavailable(f"source {name!r}: databases of kind {backend!r} can't be read; known are {known}")
        limits = SourceLimits(max_connections=max_connections, statement_timeout=statement_timeout)
        dialect = DIALECTS[backend]()
        self.name = name
        try:
            engine = dialect.engine(address, limits)
        except ModuleNotFoundError as error:
            text = f"source {name!r}: its driver is not installed; pip install 'drift-monitor[{backend}]'"
            raise SourceUnavailable(text) from error
        except (SQLAlchemyError, ValueError) as error:
            raise SourceUnavailable(f"source {name!r}: {error}; check its URL") from error
        self._session = Session(name, engine, dialect, limits)
        self._catalog = Catalog(self._session)
        self._reader = Reader(self._session, self._catalog, clock)
        self._profiler = Profiler(self._session, self._catalog, self._reader)

    @property
    def dialect(self) -> str:
        """Which database this is, by its short name."""
        return self._session.dialect.name

    @property
    def last_ended(self) -> float:
        """When a statement last ended, however it did, by the monotonic clock."""
        return self._session.last_ended

    def ping(self) -> None:
        """Ask the database for a sign of life; raises SourceUnavailable or SourceTimeout."""
        self._session.ask(sa.select(sa.literal_column("1")))

    def risks(self) -> Sequence[str]:
        """What our role may do although it should not. Raises SourceUnavailable or SourceTimeout."""
        statement = self._session.dialect.risks_statement()
        return [] if statement is None else [f"source {self.name!r}: {row[0]}" for row in self._session.ask(statement)]

    def describe(self, dataset: Dataset) -> Description:
        """A dataset's columns, and its time column if it has one. Raises DatasetError."""
        return self._catalog.describe(dataset)

    def describe_features(
        self, dataset: Dataset, columns: Sequence[FeatureColumn]
    ) -> Mapping[str, ColumnInfo | FeatureError]:
        """Each feature's column with the kind it is watched as, or why it can't be. Raises DatasetError."""
        return self._catalog.configured_features(dataset, columns)

    def profile(
        self, dataset: Dataset, columns: Sequence[FeatureColumn], span: Span | None
    ) -> Mapping[str, Profile | FeatureError]:
        """What binning needs to know of each feature's values in a span, or in the whole table. Raises SourceError."""
        return self._profiler.profile(dataset, columns, span)

    def read(self, dataset: Dataset, counters: Sequence[Counter], spans: Sequence[Span] | None) -> Reading:
        """Counts of every feature in every span, or in the whole table. Raises SourceError.

        One statement for each chunk of features, whatever the number of spans. A feature that can't be read is in
        `failed`, with its error; the others are not affected.
        """
        return self._reader.read(dataset, counters, spans)

    def tables(self) -> Sequence[str]:
        """Tables and views which our role may read, by the names a configuration would use."""
        return self._catalog.names()

    def indexed_columns(self, dataset: Dataset) -> frozenset[str]:
        """Columns of a table that come first in an index."""
        entry = self._catalog.origin(dataset, anew=True).entry
        return entry.indexed if entry is not None else frozenset()

    def cancel(self) -> None:
        """End running statements and refuse further ones: the program ends."""
        self._session.cancel()

    def close(self) -> None:
        """Give every connection back."""
        self._session.close()
