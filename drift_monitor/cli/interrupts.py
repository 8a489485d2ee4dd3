"""Ctrl-C that is not lost.

Python raises KeyboardInterrupt wherever it happens to be. Inside a finaliser or a weak reference's callback, and there
are many of them in a loop of short transactions, it is printed and forgotten. So it is also noted, and raised again at
the next place that asks.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def interruptible() -> Iterator[Callable[[], None]]:
    """Until the block ends, Ctrl-C raises KeyboardInterrupt at once, and the function yielded raises it again."""
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None  # signals come to the main thread only
        return
    asked = threading.Event()

    def note(number: int, frame: FrameType | None) -> None:
        asked.set()
        raise KeyboardInterrupt

    def check() -> None:
        if asked.is_set():
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, note)
    try:
        yield check
    finally:
        signal.signal(signal.SIGINT, before)
