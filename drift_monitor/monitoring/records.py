"""What the store remembers, as people ask for it: a history in order, one feature of one window."""

from datetime import datetime

from drift_monitor.config.model import MonitorConfig
from drift_monitor.config.public import instant
from drift_monitor.errors import InputError
from drift_monitor.monitoring.documents import Evaluation, read_evaluation
from drift_monitor.store import measurements as measurement_store
from drift_monitor.store import runs
from drift_monitor.store.connection import Store
from drift_monitor.store.measurements import Measurement, MeasurementFilter

PAGE = 5000  # measurements read at a time


def history(store: Store, which: MeasurementFilter) -> list[Measurement]:
    """The latest revision of each measurement, oldest window first."""
    found: list[Measurement] = []
    with store.read() as conn:
        while True:
            before = measurement_store.place(found[-1]) if found else None
            page = measurement_store.history(conn, which, limit=PAGE, before=before)
            found += page
            if len(page) < PAGE:
                break
    return sorted(found, key=lambda one: (one.window_end, one.feature, one.segment))


def last_evaluation(store: Store, monitor: MonitorConfig, at: datetime | None) -> Evaluation:
    """The last evaluation that is done, or that of the window which ends at `at`; raises InputError."""
    with store.read() as conn:
        run = runs.last_done(conn, monitor.name) if at is None else runs.latest_done_of(conn, monitor.name, at)
        if run is not None:
            return read_evaluation(conn, run)
        last = runs.last_done(conn, monitor.name)
    if last is None:
        raise InputError(f"monitor {monitor.name!r} has not been evaluated yet; run `drift-monitor evaluate`")
    asked = "" if at is None else f" that ends at {instant(at)}"
    raise InputError(
        f"monitor {monitor.name!r}: no window{asked} has been evaluated; the last one ends at "
        f"{instant(last.key.window_end)}"
    )


def feature_of(evaluation: Evaluation, feature: str | None) -> Measurement:
    """The measurement of a feature, by default of the one that drifted most; raises InputError."""
    measured = evaluation.measurements
    if feature is None:
        if not measured:
            raise InputError(f"monitor {evaluation.run.key.monitor!r} measured no feature in this window")
        return max(measured, key=_drift)
    for one in measured:
        if one.feature == feature:
            return one
    known = ", ".join(one.feature for one in measured) or "none"
    raise InputError(
        f"monitor {evaluation.run.key.monitor!r} has no feature {feature!r} in this window; known: {known}"
    )


def _drift(one: Measurement) -> float:
    """How clearly it drifted: the careful end of PSI's interval, where there is one."""
    found = one.psi_low if one.psi_low is not None else one.psi
    return -1.0 if found is None else found
