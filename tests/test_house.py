"""The house rules that a linter does not know: sizes, names, imports, and who may read the clock."""

import ast
import json
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmarks.entered import entered_files
from benchmarks.house import House, double_defaults, public_twins, read_house, two_way_pairs
from drift_monitor.core.divergence import DIVERGENCES
from drift_monitor.store.migrate import head
from tests.cli.shop import open_shop, select
from tests.endtoend.daemon import running

ROOT = Path(__file__).parent.parent
MODULES = sorted((ROOT / "drift_monitor").rglob("*.py"))
NAMELESS = {"utils", "util", "helpers", "helper", "common", "manager", "misc"}
WALL_CLOCKS = {("datetime", "now"), ("datetime", "utcnow"), ("datetime", "today"), ("date", "today"), ("time", "time")}


def parsed(module: Path) -> ast.Module:
    return ast.parse(module.read_text(encoding="utf-8"))


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def test_there_are_modules_to_look_at() -> None:
    assert len(MODULES) > 100


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_keeps_the_house_rules(module: Path) -> None:
    text, tree = module.read_text(encoding="utf-8"), parsed(module)
    assert text.count("\n") < 400, "a noun is missing"
    assert module.stem not in NAMELESS, "what is its noun?"
    assert not text.strip() or ast.get_docstring(tree), "a module says first what it promises"
    for function in functions(tree):
        lines = (function.end_lineno or function.lineno) - function.lineno + 1
        assert lines <= 60, f"{function.name} has {lines} lines"
        for node in ast.walk(function):
            inside = isinstance(node, ast.ImportFrom) and (node.module or "").startswith("drift_monitor")
            assert not inside, f"a first-party import inside {function.name}: a cycle in hiding"


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_the_clock_reads_real_time(module: Path) -> None:
    if module.name == "clock.py":
        return
    for node in ast.walk(parsed(module)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = node.func.value.id if isinstance(node.func.value, ast.Name) else ""
            assert (owner, node.func.attr) not in WALL_CLOCKS, f"line {node.lineno} reads the real clock"


@pytest.fixture(scope="module")
def house() -> House:
    return read_house(ROOT)


def test_a_public_class_name_has_one_meaning(house: House) -> None:
    assert public_twins(house) == {}


def test_no_two_rooms_import_each_other(house: House) -> None:
    assert two_way_pairs(house) == {}


def test_a_default_is_typed_in_one_file(house: House) -> None:
    assert double_defaults(house) == {}


def test_the_figures_see_what_is_twice(tmp_path: Path) -> None:
    files = {
        "left/shop.py": "from drift_monitor.right import shop\nclass Order:\n    size: int = 7\n    note: str = ''\n",
        "right/shop.py": "class Order: ...\ndef pay(*, size=7, note='', other=None): ...\n",
        "right/__init__.py": "",
        "right/late.py": "def pay(other=None):\n    import drift_monitor.left.shop\nclass _Own: ...\n",
        "third.py": "from .right.shop import Order\nclass _Own: ...\nclass Order_:\n    size: int = Field(default=7)\n",
    }
    for name, text in files.items():
        file = tmp_path / "drift_monitor" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    small = read_house(tmp_path)
    assert public_twins(small) == {"Order": ["left/shop.py", "right/shop.py"]}
    assert list(two_way_pairs(small)) == ["left <> right"]
    written_out = {"size = 7": ["left/shop.py", "right/shop.py", "third.py"]}
    assert double_defaults(small, neutral=False) == written_out
    assert double_defaults(small) == written_out | {"note = ''": ["left/shop.py", "right/shop.py"]}


@pytest.mark.processes
def test_an_evaluation_enters_the_files_of_its_checkout() -> None:
    entered = entered_files(ROOT)
    assert "cli/evaluate.py" in entered
    assert not [name for name in entered if not (ROOT / "drift_monitor" / name).is_file()]
    assert "cli/demo.py" not in entered  # imported at most


# The triangular discrimination, sum (p - q)^2 / (p + q), of Topsøe (2000): 0 .. 2.
NEW_ENTRY = """
    TRIANGULAR = "triangular", Divergence(
        label="triangular",
        is_root=False,
        largest=Largest(2.0, "2"),
        term=lambda masses: masses.difference * masses.lean,
        gradient=lambda masses: (2 * masses.lean - masses.lean**2, -2 * masses.lean - masses.lean**2),
        gauge=Gauge("drift_triangular_discrimination", "Triangular discrimination."),
    )
"""
NEW_MIGRATION = """
import sqlalchemy as sa
from alembic import op

revision, down_revision = "triangular", "{head}"

def upgrade():
    for name in ("triangular", "triangular_low", "triangular_high", "triangular_corrected", "noise_floor_triangular"):
        op.add_column("measurement", sa.Column(name, sa.Float()))
    op.execute("DROP VIEW drift_measurements")
    op.execute("CREATE VIEW drift_measurements AS SELECT {columns} FROM measurement")
"""
BEFORE = "    MISSING_RATIO ="  # the divergences come first


@pytest.mark.slow
@pytest.mark.processes
def test_a_new_divergence_is_an_entry_and_a_migration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a copy with only these two written, it is computed, stored, shown and may be watched by a rule."""
    for folder in ("drift_monitor", "migrations"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    entries = tmp_path / "drift_monitor/core/divergence.py"
    text = entries.read_text(encoding="utf-8")
    assert text.count(BEFORE) == 1
    entries.write_text(text.replace(BEFORE, NEW_ENTRY.strip("\n") + "\n" + BEFORE), encoding="utf-8")
    names = [f"{name}{end}" for name in (*DIVERGENCES, "triangular") for end in ("", "_low", "_high")]
    names += ["monitor", "feature", "segment", "window_end", "revision", "status"]
    migration = NEW_MIGRATION.format(head=head(), columns=", ".join(names))
    (tmp_path / "migrations/versions/9999_triangular.py").write_text(migration, encoding="utf-8")
    shop = open_shop(tmp_path)
    shop.change_config("metric: psi, above: 0.1", "metric: triangular, above: 0.01")
    monkeypatch.chdir(tmp_path)  # so that the copy is imported
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    command = [sys.executable, "-m", "drift_monitor", "evaluate", f"--config.file={shop.config}", "--format=json"]
    printed = subprocess.run(command, check=False, capture_output=True)
    assert printed.returncode == 1, printed.stderr.decode()  # something fires
    (evaluation,) = json.loads(printed.stdout)["evaluations"]
    amount = evaluation["measurements"][0]
    bins = amount["bins"]
    live, reference = (np.array([counted[f"{side}_count"] for counted in bins]) for side in ("live", "reference"))
    held = live + reference > 0
    live, smoothed, added = live[held], reference[held] + 0.5, 0.5 * held.sum()
    q = smoothed / smoothed.sum()
    p = (live + added * q) / (live.sum() + added)
    expected = ((p - q) ** 2 / (p + q)).sum()
    assert amount["triangular"] == pytest.approx(expected, rel=1e-12)
    assert 0 < amount["triangular_low"] < expected < 2
    assert {"feature": "amount", "metric": "triangular", "state": "firing"}.items() <= evaluation["alerts"][0].items()

    (stored,) = select(tmp_path / "drift.db", "SELECT triangular FROM drift_measurements WHERE feature = 'amount'")
    assert stored == (amount["triangular"],)
    with running(shop.config) as daemon, urllib.request.urlopen(f"http://127.0.0.1:{daemon.port}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    gauges = [line.split() for line in lines if line.startswith('drift_triangular_discrimination{monitor="orders"')]
    assert [name.partition('feature="')[2].partition('"')[0] for name, _ in gauges] == ["amount", "country"]
    assert float(gauges[0][1]) == amount["triangular"]
