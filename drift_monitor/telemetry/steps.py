"""The named steps of an evaluation and of a delivery, told to an observer as they are reached.

The default observer writes a debug line. A test composes the program with another one and stops the process at the
step it wants, which proves what a crash there leaves behind. No setting or variable of the product does that.
"""

import logging
from collections.abc import Callable
from enum import StrEnum

from drift_monitor.telemetry.logs import DEBUG, log

_logger = logging.getLogger(__name__)


class Step(StrEnum):
    """Where an evaluation or a delivery stands."""

    PLAN_BEFORE_COMMIT = "plan_before_commit"  # due runs are inserted, not yet committed
    PLAN_AFTER_COMMIT = "plan_after_commit"
    CLAIM_AFTER_COMMIT = "claim_after_commit"  # the run has a lease and a token
    PANES_READ = "panes_read"  # the source answered, nothing is stored
    COMPUTE_DONE = "compute_done"
    FINISH_BEFORE_COMMIT = "finish_before_commit"  # all rows of the Finish transaction written, not committed
    FINISH_AFTER_COMMIT = "finish_after_commit"
    SEND_CLAIMED = "send_claimed"  # the notification has a lease
    SEND_POSTED = "send_posted"  # the receiver answered, the outbox does not know yet
    SEND_SETTLED = "send_settled"


StepObserver = Callable[[Step, str], None]


def log_step(step: Step, path: str) -> None:
    """The default observer: a debug line with the path of nouns, as `monitor/window_end/revision`."""
    log(_logger, DEBUG, "step", "A step was reached.", step=step, path=path)
