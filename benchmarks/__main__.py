"""Run every benchmark, one process after the other; the exit code says whether all bars are kept."""

import subprocess
import sys

BENCHMARKS = (
    "benchmarks.divergence",
    "benchmarks.reading",
    "benchmarks.hourly",
    "benchmarks.storage",
    "benchmarks.exposition",
)


def main() -> int:
    """0 where every benchmark kept its bars."""
    failed = []
    for name in BENCHMARKS:
        print(f"\n== {name}", flush=True)
        if subprocess.run([sys.executable, "-m", name], check=False).returncode != 0:
            failed.append(name)
    print(f"\nover the bar: {', '.join(failed)}" if failed else "\nall bars are kept")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
