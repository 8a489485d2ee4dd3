"""Nats to bits, for whoever reads results in bits: KL and JS divergences and the noise floor, nothing else."""

import math
from dataclasses import replace
from typing import Any

from drift_monitor.core.alerting import Metric
from drift_monitor.store.measurements import Measurement

BITS_PER_NAT = 1 / math.log(2)
_ENDS = ("", "_low", "_high", "_corrected")
_IN_NATS = tuple(f"{metric.value}{end}" for metric in Metric if metric.unit == "nats" for end in _ENDS)


def in_bits(measurement: Measurement) -> Measurement:
    """The measurement with everything that is in nats in bits. PSI and Hellinger have no unit."""
    changed: dict[str, Any] = {name: _bits(getattr(measurement, name)) for name in (*_IN_NATS, "noise_floor")}
    for name in ("contribution_live_reference", "contribution_reference_live"):
        values = getattr(measurement, name)
        changed[name] = None if values is None else tuple(value * BITS_PER_NAT for value in values)
    return replace(measurement, **changed)


def _bits(nats: float | None) -> float | None:
    return None if nats is None else nats * BITS_PER_NAT
