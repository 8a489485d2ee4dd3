"""How long these tests wait before they say that something never comes: a busy machine must not make them fail."""

from collections.abc import Callable
from typing import TypeVar

from tests.processes import processes

Found = TypeVar("Found")

# Longer than all that may lie between a cause and its effect: a lease or a first retry (30 s), then a round of telling
# Alertmanagers (60 s).
PATIENCE_SECONDS = 180.0


def wait_until(look: Callable[[], Found], what: str) -> Found:
    """What `look` finds, as soon as it is anything but None or False."""
    return processes.wait_until(look, what, PATIENCE_SECONDS)
