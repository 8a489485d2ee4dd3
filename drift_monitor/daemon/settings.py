"""Time limits and sizes of the daemon, with their reasons."""

from dataclasses import dataclass
from datetime import timedelta

from drift_monitor.alerting import dispatch
from drift_monitor.notify.alertmanager import RESEND


@dataclass(frozen=True, kw_only=True)
class DaemonSettings:
    """Defaults are for production; tests shorten leases so that a restart need not wait for them."""

    workers: int = 4  # evaluations at a time; sources limit their own connections below that
    lease: timedelta = timedelta(seconds=30)  # how long a killed process holds a window
    sending: timedelta = dispatch.SEND_LEASE  # how long a killed process holds a notification
    tick: timedelta = timedelta(seconds=1)
    resend: timedelta = RESEND  # tell Alertmanagers how alerts stand
    housekeeping: timedelta = timedelta(hours=1)
    replan: timedelta = timedelta(seconds=60)  # look at a schedule again at least this often, whatever it says
    stalled_after: timedelta = timedelta(seconds=60)  # without a finished tick the process is dead and must end
    stuck_after: timedelta = timedelta(minutes=5)  # beyond the longest statement: work waits and none ends
    clock_step: timedelta = timedelta(seconds=5)  # wall and monotonic clock apart by more: the clock was set
    trust: timedelta = timedelta(seconds=30)  # a clock that leapt ahead is believed when it has stayed there so long
    pause: timedelta = timedelta(seconds=15)  # the watchdog itself did not run for longer: the process was stopped
    grace: timedelta = timedelta(seconds=20)  # for running evaluations at shutdown; Kubernetes kills after 30
    farewell: timedelta = timedelta(seconds=2)  # for cancelled evaluations, and again for last notifications
