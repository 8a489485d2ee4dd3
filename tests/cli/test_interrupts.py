"""Ctrl-C arrives, also where Python would forget it."""

import gc
import os
import signal
import threading
import weakref

import pytest

from drift_monitor.cli.backfill import interruptible


class Thing:
    """Something that can be referred to weakly."""


def interrupt_inside_a_callback() -> None:
    """SIGINT comes while the callback of a weak reference runs: the exception raised there is dropped."""
    thing = Thing()
    reference = weakref.ref(thing, lambda _: os.kill(os.getpid(), signal.SIGINT))
    del thing
    gc.collect()
    assert reference() is None


def test_an_interrupt_is_raised_where_it_happens() -> None:
    with interruptible(), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_that_was_dropped_is_raised_when_asked_for() -> None:
    with interruptible() as check:
        interrupt_inside_a_callback()
        with pytest.raises(KeyboardInterrupt):
            check()


def test_nothing_is_raised_without_an_interrupt_and_the_old_handler_comes_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    with interruptible() as check:
        check()
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before


def test_other_threads_leave_signals_alone() -> None:
    found: list[object] = []

    def work() -> None:
        with interruptible() as check:
            check()
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [signal.getsignal(signal.SIGINT)]
