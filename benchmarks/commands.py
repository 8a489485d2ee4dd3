"""What starting costs: `--version`, `--help`, `check-config` beside `import numpy`; and the demo until it shows finds.

The demo alone is timed on the wall, since that is what a person waits for: other programs on the machine disturb it.
"""

import json
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from benchmarks.figures import HERE, Bar, Beside, Checkout, Measured
from benchmarks.scene import Daemon, serving

NUMPY = ["-c", "import numpy"]
EXAMPLE = "config/example.yaml"
INCIDENTS = 7  # each in a feature of its own


def startup(checkout: Checkout, quick: bool) -> Mapping[Bar, Measured]:
    """CPU as a multiple of importing numpy, before and after; and the peak memory."""
    measured = {}
    checkout.command("check-config", EXAMPLE)  # a new checkout is compiled first
    for arguments, most in ((["--version"], 1.0), (["--help"], 1.0), (["check-config", EXAMPLE], 3.0)):
        before = checkout.spend(NUMPY).cpu
        spent = checkout.command(*arguments)
        numpy = (before + checkout.spend(NUMPY).cpu) / 2
        measured[Bar(" ".join(arguments), most, "numpy")] = Measured(spent.cpu / numpy, spent.cpu)
        if arguments[0].startswith("--"):
            measured[Bar(f"  peak memory of {arguments[0]}", 60, "MB")] = Measured(spent.megabytes)
    return measured


def divergence(checkout: Checkout, quick: bool) -> Mapping[Bar, Measured]:
    """The core alone, in a process that takes the unit itself; see `benchmarks/divergence.py`."""
    bar = Bar("divergences with intervals, 1,000 features x 32 bins", 0.15)
    found = json.loads(checkout.output([str(HERE / "benchmarks" / "divergence.py")]))
    return {bar: Measured(found["ratio"], found["seconds"])}


def demo(checkout: Checkout, quick: bool) -> Mapping[Bar, Measured]:
    """From the command to pages, metrics and the first incident, and to all seven; on the wall."""
    measured = {}
    with tempfile.TemporaryDirectory(prefix="drift-bench-") as name, Beside() as beside:
        started = time.monotonic()
        with serving(checkout, Path(name), "demo", f"--dir={name}/demo") as service:
            for title, wanted, most in (("the first incident", 1, 75), ("all seven", INCIDENTS, 200)):
                service.wait(lambda wanted=wanted: _shows(service, wanted), pause=0.25)  # type: ignore[misc]
                measured[Bar(f"demo, until pages and metrics show {title}", most, "u (wall)")] = (
                    time.monotonic() - started
                )
    return {bar: beside.of(seconds) for bar, seconds in measured.items()}


def _shows(service: Daemon, wanted: int) -> bool:
    """Whether pages and metrics answer and so many features have fired."""
    if not (service.answers("/") and service.answers("/metrics")):
        return False
    episodes = json.loads(service.get("/api/v1/episodes?limit=1000"))["episodes"]
    return len({episode["feature"] for episode in episodes}) >= wanted
