"""`promtool`, of Debian's package prometheus: the lint of the format's own makers."""

import subprocess

from tests.programs import find_program


def find_promtool() -> str:
    """Its path."""
    return find_program("promtool", package="prometheus")


def check_metrics(text: bytes) -> str:
    """What `promtool check metrics` complains of; empty if nothing."""
    done = subprocess.run([find_promtool(), "check", "metrics"], input=text, capture_output=True, check=False)
    return "" if done.returncode == 0 and not done.stdout else (done.stdout + done.stderr).decode() or "exit not 0"
