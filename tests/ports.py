"""A port for a program that must come back on the same one after a restart."""

import os
import random
import socket
import time

# Below the range from which the kernel takes ports for outgoing connections: while the program is down, nobody is
# given its port by chance. Each worker has a part of its own, so that none takes what another one has just found free.
_BELOW_EPHEMERAL = range(20_000, 32_000)
_PARTS = 12
_ATTEMPTS = 100


def lasting_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    for port in random.sample(_BELOW_EPHEMERAL[worker % _PARTS :: _PARTS], _ATTEMPTS):
        try:
            with socket.create_server(("127.0.0.1", port)):
                return port
        except OSError:
            continue
    raise AssertionError("no port is free")


def wait_for_port(port: int, seconds: float = 20) -> None:
    """Until somebody listens there."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError(f"nobody listens on port {port}")
