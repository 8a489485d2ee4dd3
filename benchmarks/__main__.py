"""Run the benchmarks, all or those that are named; the exit code says whether all bars are kept.

python -m benchmarks                          everything
python -m benchmarks windows pages --quick    some, on a small scale: to try them, the values mean little
python -m benchmarks windows --against        beside the commit the bars come from; or another, or a folder
"""

import argparse
import os
import subprocess
import sys
from contextlib import ExitStack
from tempfile import TemporaryDirectory

from benchmarks import commands, served, windows
from benchmarks.figures import BASE, HERE, Take, checkout_of, compare, heading

# Name: how often each checkout is measured, and what is measured, one after the other.
FIGURES: dict[str, tuple[int, tuple[Take, ...]]] = {
    "startup": (7, (commands.startup,)),  # first, while we are small: Linux counts our memory as our children's
    "windows": (3, (windows.backfill(20, 0.04), windows.backfill(50, 0.08))),
    "postgresql": (3, (windows.backfill_postgresql,)),
    "before": (3, (windows.before_stored,)),
    "storage": (1, (windows.storage,)),
    "daemon": (3, (windows.daemon,)),
    "fleet": (1, (windows.fleet,)),
    "pages": (1, (served.pages,)),
    "metrics": (1, (served.metrics(10_000, 0.6), served.metrics(100_000, 5.0))),
    "divergence": (3, (commands.divergence,)),
    "demo": (1, (commands.demo,)),
}
# Ratios that a PostgreSQL source gives itself; they print tables of their own, and know nothing of other checkouts.
OTHERS = {"reading": "benchmarks.reading", "hourly": "benchmarks.hourly"}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join([*FIGURES, *OTHERS])}; by default all")
    parser.add_argument("--quick", action="store_true", help="small scale, once")
    parser.add_argument("--against", nargs="?", const=BASE, metavar="FOLDER|COMMIT", help=f"by default {BASE}")
    parser.add_argument("--checkout", default=str(HERE), metavar="FOLDER|COMMIT", help="measured instead of this one")
    given = parser.parse_args()
    given.names = given.names or [*FIGURES, *OTHERS]
    if unknown := set(given.names) - {*FIGURES, *OTHERS}:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    return given


def main() -> int:
    """0 where every benchmark kept its bars."""
    given = arguments()
    failed = []
    with ExitStack() as stack:
        # Compiled modules are kept, as where the package is installed, but not in a checkout that is only measured.
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = stack.enter_context(TemporaryDirectory(prefix="drift-bench-"))
        places = [place for place in (given.checkout, given.against) if place is not None]
        checkouts = [stack.enter_context(checkout_of(place)) for place in places]
        chosen = [name for name in FIGURES if name in given.names]
        if chosen:
            print(heading(len(checkouts) > 1), flush=True)
        for name in chosen:
            repeats, takes = FIGURES[name]
            kept = [compare(take, checkouts, repeats=repeats, quick=given.quick) for take in takes]
            if not all(kept):
                failed.append(name)
    failed += [name for name in given.names if name in OTHERS and not _run_other(OTHERS[name])]
    print(f"\nover the bar: {', '.join(failed)}" if failed else "\nall bars are kept")
    return 1 if failed else 0


def _run_other(module: str) -> bool:
    print(f"\n== {module}", flush=True)
    return subprocess.run([sys.executable, "-m", module], check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main())
