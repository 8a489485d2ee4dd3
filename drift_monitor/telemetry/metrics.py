"""Counters of this process's own behaviour: runs, failures, notifications, the scheduler, the configuration.

Results (divergences, thresholds, alert states) are not here: they come from the store through the collector of the
web room, right at the first scrape after a restart. What is here counts from 0 in each process, as `rate()` expects.

Every label set known from the configuration is made at 0 by `declare`, and goes when its monitor, receiver or source
goes; what happens to an undeclared one is not counted, so that a late event can't bring a removed series back.
"""

import platform
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from threading import Lock

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.gc_collector import GCCollector
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from drift_monitor.core.times import clean_label
from drift_monitor.errors import RUN_FAILURE_REASONS, DeliveryFailure, MissedReason, RequestRefusal

DURATION_BUCKETS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
_RECEIVER = ("receiver", "integration")


class Telemetry:
    """All process metrics in one registry of its own; safe to use from any thread."""

    def __init__(self, *, version: str = "unknown", revision: str = "unknown", process_metrics: bool = True) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        if process_metrics:
            for collector in (ProcessCollector, PlatformCollector, GCCollector):
                collector(registry=self.registry)
        self._lock = Lock()
        self._monitors: frozenset[str] = frozenset()
        self._receivers: frozenset[tuple[str, str]] = frozenset()
        self._sources: frozenset[str] = frozenset()
        self._make_evaluation_metrics()
        self._make_daemon_metrics()
        self._make_notification_metrics()
        labels = ("version", "revision", "python_version")
        build = self._gauge("drift_build_info", "Always 1; the labels say which build this is.", labels)
        build.labels(clean_label(version), clean_label(revision), platform.python_version()).set(1)

    def _make_evaluation_metrics(self) -> None:
        monitor = ("monitor",)
        self._runs = self._counter("drift_monitor_runs_total", "Evaluations started by this process.", monitor)
        self._failures = self._counter(
            "drift_monitor_failures_total", "Evaluations that failed, by reason.", ("monitor", "reason")
        )
        self._missed = self._counter(
            "drift_monitor_missed_runs_total", "Windows that were skipped for good, by reason.", ("monitor", "reason")
        )
        self._rows = self._counter("drift_rows_read_total", "Rows counted in the sources by this process.", monitor)
        self._duration = Histogram(
            "drift_monitor_duration_seconds",
            "Duration of evaluations, from claim to commit.",
            monitor,
            buckets=DURATION_BUCKETS,
            registry=self.registry,
        )

    def _make_daemon_metrics(self) -> None:
        self._tick = self._gauge(
            "drift_scheduler_last_tick_timestamp_seconds",
            "When the scheduler's loop last turned; 0 before the first turn.",
        )
        self._lag = self._gauge(
            "drift_scheduler_lag_seconds", "How long the oldest due evaluation that has not started has been waiting."
        )
        self._lease_lost = self._counter(
            "drift_lease_lost_total", "Evaluations given up because the lease had passed on."
        )
        self._workers = self._gauge("drift_workers", "Evaluations that may run at the same time.")
        self._busy = self._gauge("drift_workers_busy", "Evaluations running now.")
        self._source_up = self._gauge(
            "drift_source_up", "1 if the last attempt to use the source worked; absent before the first.", ("source",)
        )
        self._store_up = self._gauge("drift_store_up", "1 if the last write to the store worked.")
        self._store_free: Gauge | None = None
        self._replicas = self._gauge("drift_replicas", "Processes of the service that use this store now.")
        self._replicas_differ = self._gauge(
            "drift_replicas_with_another_config", "Of these, how many run another configuration than this one."
        )
        self._reload_ok = self._gauge(
            "drift_config_last_reload_successful", "1 if the last attempt to load the configuration worked."
        )
        self._reload_at = self._gauge(
            "drift_config_last_reload_success_timestamp_seconds", "When a configuration was last loaded."
        )
        self._refused = self._counter(
            "drift_http_requests_refused_total",
            "HTTP requests refused before any page, by reason.",
            ("reason",),
        )
        for reason in RequestRefusal:
            self._refused.labels(reason.value)
        self._series = self._gauge("drift_exposition_series", "Series of results in this exposition.")
        self._series_dropped = self._counter(
            "drift_exposition_series_dropped_total",
            "Series of results left out of expositions because of --web.max-series.",
        )

    def _make_notification_metrics(self) -> None:
        self._notifications = self._counter("drift_notifications_total", "Attempts to send a notification.", _RECEIVER)
        self._notifications_failed = self._counter(
            "drift_notifications_failed_total", "Attempts that were not accepted, by reason.", (*_RECEIVER, "reason")
        )
        self._notifications_dropped = self._counter(
            "drift_notifications_dropped_total",
            "Notifications given up: refused for good, or older than a day.",
            _RECEIVER,
        )

    def _counter(self, name: str, text: str, labels: tuple[str, ...] = ()) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, labels: tuple[str, ...] = ()) -> Gauge:
        return Gauge(name, text, labels, registry=self.registry)

    def declare(self, *, monitors: Iterable[str], receivers: Iterable[tuple[str, str]], sources: Iterable[str]) -> None:
        """Make the label sets of this configuration at 0 and remove those of the one before.

        `receivers` are (receiver, integration). Called at start and after each reload.
        """
        with self._lock:
            wanted = frozenset(map(clean_label, monitors))
            for monitor in wanted - self._monitors:
                for metric in (self._runs, self._rows, self._duration):
                    metric.labels(monitor)
                for reason in RUN_FAILURE_REASONS:
                    self._failures.labels(monitor, reason)
                for missed in MissedReason:
                    self._missed.labels(monitor, missed)
            for monitor in self._monitors - wanted:
                for metric in (self._runs, self._failures, self._missed, self._rows, self._duration):
                    metric.remove_by_labels({"monitor": monitor})
            self._monitors = wanted
            self._declare_receivers(frozenset((clean_label(name), clean_label(kind)) for name, kind in receivers))
            known = frozenset(map(clean_label, sources))
            for source in self._sources - known:
                self._source_up.remove_by_labels({"source": source})
            self._sources = known

    def _declare_receivers(self, wanted: frozenset[tuple[str, str]]) -> None:
        for receiver, integration in wanted - self._receivers:
            self._notifications.labels(receiver, integration)
            self._notifications_dropped.labels(receiver, integration)
            for reason in DeliveryFailure:
                self._notifications_failed.labels(receiver, integration, reason)
        metrics: Sequence[MetricWrapperBase] = (
            self._notifications,
            self._notifications_failed,
            self._notifications_dropped,
        )
        for receiver, integration in self._receivers - wanted:
            for metric in metrics:
                metric.remove_by_labels({"receiver": receiver, "integration": integration})
        self._receivers = wanted

    def run_started(self, monitor: str) -> None:
        if self._knows_monitor(monitor):
            self._runs.labels(clean_label(monitor)).inc()

    def run_finished(self, monitor: str, seconds: float) -> None:
        """Also of a run that failed: how long it took."""
        if self._knows_monitor(monitor):
            self._duration.labels(clean_label(monitor)).observe(seconds)

    def run_failed(self, monitor: str, reason: str) -> None:
        """`reason` is a FailureReason or a RunFailure."""
        if self._knows_monitor(monitor):
            self._failures.labels(clean_label(monitor), reason).inc()

    def runs_missed(self, monitor: str, reason: MissedReason, count: int = 1) -> None:
        if self._knows_monitor(monitor):
            self._missed.labels(clean_label(monitor), reason).inc(count)

    def rows_read(self, monitor: str, rows: int) -> None:
        if self._knows_monitor(monitor):
            self._rows.labels(clean_label(monitor)).inc(rows)

    def ticked(self, at: datetime) -> None:
        self._tick.set(at.timestamp())

    def lagging(self, seconds: float) -> None:
        self._lag.set(max(0.0, seconds))

    def lease_lost(self) -> None:
        self._lease_lost.inc()

    def workers(self, size: int) -> None:
        self._workers.set(size)

    @contextmanager
    def busy_worker(self) -> Iterator[None]:
        """Around one evaluation."""
        with self._busy.track_inprogress():
            yield

    def source_up(self, source: str, *, up: bool) -> None:
        if clean_label(source) in self._sources:
            self._source_up.labels(clean_label(source)).set(up)

    def store_up(self, *, up: bool) -> None:
        self._store_up.set(up)

    def replicas(self, running: int, *, others: int) -> None:
        """How many processes of the service give signs of life, and how many of them run another configuration."""
        self._replicas.set(running)
        self._replicas_differ.set(others)

    def store_free_bytes(self, free: int) -> None:
        if self._store_free is None:  # of a file only: 0 bytes would be an alarm where nobody knows them
            self._store_free = self._gauge("drift_store_free_bytes", "What is free on the disk of a SQLite store.")
        self._store_free.set(free)

    def request_refused(self, reason: RequestRefusal) -> None:
        self._refused.labels(reason.value).inc()

    def config_loaded(self, at: datetime) -> None:
        self._reload_ok.set(1)
        self._reload_at.set(at.timestamp())

    def config_refused(self) -> None:
        self._reload_ok.set(0)

    def notification_attempted(self, receiver: str, integration: str) -> None:
        if self._knows_receiver(receiver, integration):
            self._notifications.labels(clean_label(receiver), clean_label(integration)).inc()

    def notification_failed(self, receiver: str, integration: str, reason: str) -> None:
        """`reason` is the one of the DeliveryError, a DeliveryFailure."""
        if self._knows_receiver(receiver, integration):
            self._notifications_failed.labels(clean_label(receiver), clean_label(integration), reason).inc()

    def notification_dropped(self, receiver: str, integration: str) -> None:
        if self._knows_receiver(receiver, integration):
            self._notifications_dropped.labels(clean_label(receiver), clean_label(integration)).inc()

    def exposed(self, *, series: int, dropped: int) -> None:
        """What one exposition of results held and what the budget left out."""
        self._series.set(series)
        self._series_dropped.inc(dropped)

    def _knows_monitor(self, monitor: str) -> bool:
        return clean_label(monitor) in self._monitors

    def _knows_receiver(self, receiver: str, integration: str) -> bool:
        return (clean_label(receiver), clean_label(integration)) in self._receivers
