"""Which files of the package one `evaluate` enters, from the program's start to its exit.

A file is entered where one of its functions is executed, in any thread, seen by `sys.setprofile`. Bodies of modules and
classes are no functions, and functions that run while a module is imported don't count: else the figure would change
with the moment of the import. The evaluation is a usual first one: a new store, a table and its training table in
SQLite, two features, one rule that fires, the receiver `log`. `benchmarks.house` prints the figure.
"""

import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime, timedelta
from inspect import CO_OPTIMIZED
from pathlib import Path
from types import FrameType

PACKAGE = "drift_monitor"
HOURS = 12
DRIFT = 1  # the exit code of `evaluate` where a rule fires
CONFIG = """
store: {{url: "sqlite:///{folder}/drift.db"}}
sources: [{{name: shop, url: "sqlite:///{folder}/shop.db"}}]
monitors:
  - name: orders
    source: shop
    table: orders
    time_column: created_at
    every: 1h
    window: 4h
    settle: 1m
    min_rows: 20
    reference: {{table: training}}
    features: [{{name: amount, bins: {{edges: [0, 10, 20, 40, 80]}}}}, {{name: country, bins: {{top: 3}}}}]
    rules: [{{metric: psi, above: 0.1, severity: warning}}]
receivers: [{{name: terminal, log: {{}}}}]
"""


def entered_files(checkout: Path) -> list[str]:
    """Files of the package of which one `evaluate` executes a function, in a process that imports that checkout."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _open_shop(folder)
        done = subprocess.run(
            [sys.executable, "-P", __file__, str(folder), str(checkout)],
            env={**os.environ, "PYTHONPATH": str(checkout)},
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != DRIFT:
            raise RuntimeError(f"evaluate found no drift, but ended with {done.returncode}: {done.stderr}")
        return (folder / "entered.txt").read_text(encoding="utf-8").split()


def _open_shop(folder: Path) -> None:
    """Orders of the last hours, whose amounts are larger than those of the training table."""
    numbers = random.Random(11)
    now = datetime.now(UTC)
    with closing(sqlite3.connect(folder / "shop.db")) as shop:
        shop.execute("CREATE TABLE orders (created_at TIMESTAMP NOT NULL, amount INTEGER, country TEXT)")
        shop.execute("CREATE TABLE training (amount INTEGER, country TEXT)")
        for minutes in range(60 * HOURS):
            moment = (now - timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%SZ")
            row = int(numbers.gammavariate(2, 25)), numbers.choice("ABC")
            shop.execute("INSERT INTO orders VALUES (?, ?, ?)", (moment, *row))
            shop.execute("INSERT INTO training VALUES (?, ?)", (int(numbers.gammavariate(2, 8)), numbers.choice("ABC")))
        shop.commit()
    (folder / "drift.yaml").write_text(CONFIG.format(folder=folder), encoding="utf-8")


def _evaluate_watched(folder: Path, checkout: Path) -> None:
    """Be the program, and write down which files were entered."""
    package = f"{checkout / PACKAGE}{os.sep}"
    entered: set[str] = set()
    importing: Counter[int] = Counter()  # of each thread: bodies of the package's modules on its stack

    def watch(frame: FrameType, event: str, _argument: object) -> None:
        code = frame.f_code
        if event not in ("call", "return") or not code.co_filename.startswith(package):
            return
        if code.co_name == "<module>":
            importing[threading.get_ident()] += 1 if event == "call" else -1
        elif code.co_flags & CO_OPTIMIZED and not importing[threading.get_ident()]:
            entered.add(code.co_filename.removeprefix(package))

    threading.setprofile(watch)
    sys.setprofile(watch)
    from drift_monitor.cli.main import main as program

    try:
        program(["evaluate", f"--config.file={folder / 'drift.yaml'}"])
    finally:
        sys.setprofile(None)
        (folder / "entered.txt").write_text("\n".join(sorted(entered)), encoding="utf-8")


if __name__ == "__main__":
    _evaluate_watched(Path(sys.argv[1]), Path(sys.argv[2]))
