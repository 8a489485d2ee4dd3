"""Clocks of the tests: a present that stands where it is put; monotonic time stays real."""

import time
from dataclasses import dataclass
from datetime import datetime


@dataclass
class FixedClock:
    """`now` is what it was set to; set `at` to move it."""

    at: datetime

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return time.monotonic()
