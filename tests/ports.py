"""A port for a program that must come back on the same one after a restart."""

import os
import random
import socket

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
