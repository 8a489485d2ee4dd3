"""The house rules that a linter does not know: sizes, names, imports, and who may read the clock."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

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
