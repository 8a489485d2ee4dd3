"""The container image, really built: its tree runs the commands as its user, with nothing writable but the volume."""

import json
import math
import os
import shutil
import signal
import sqlite3
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from drift_monitor.version import __version__
from tests.containers import Buildah, Container
from tests.ports import lasting_port
from tests.processes.processes import wait_until

# Building takes minutes where the machine is busy.
pytestmark = [pytest.mark.processes, pytest.mark.slow, pytest.mark.timeout(1800)]

ROOT = Path(__file__).parent.parent
BASE = "docker.io/library/python:3.13-slim"
IMAGE = "localhost/drift-monitor:tried"
UID = 65532
CONFIG_FILE = "--config.file=/etc/drift-monitor/drift.yaml"
PATIENCE_SECONDS = 120.0

CONFIG = """\
store: {url: "sqlite:////data/drift.db"}
sources: [{name: shop, url: "sqlite:////etc/drift-monitor/shop.db", time_zone: UTC}]
monitors:
  - name: orders
    source: shop
    table: orders
    time_column: ordered_at
    every: 1h
    window: 24h
    reference: {table: orders_before}
    features: [country]
    smoothing: {method: none}
    rules: [{metric: kl_live_reference, above: 0.1}]
"""


@pytest.fixture(scope="module")
def buildah(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Buildah]:
    """With the image built. Folders of images are large: nothing of them stays."""
    folder = tmp_path_factory.mktemp("buildah")
    try:
        images = Buildah(folder)
        images.import_debian(BASE)
        images.build(ROOT, IMAGE)
        yield images
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def container(buildah: Buildah) -> Iterator[Container]:
    with buildah.container(IMAGE) as container:
        yield container


@pytest.fixture
def volumes(tmp_path: Path) -> dict[str, str]:
    """A folder of configuration that can't be written, and /data that belongs to the image's user."""
    config, data = tmp_path / "config", tmp_path / "data"
    config.mkdir()
    data.mkdir()
    os.chown(data, UID, UID)
    (config / "drift.yaml").write_text(CONFIG, encoding="utf-8")
    fill(config / "shop.db")
    return {"/etc/drift-monitor:ro": str(config), "/data": str(data)}


def fill(path: Path) -> None:
    """Half of the orders before came from either country; on 20 November nine of ten come from one."""
    before = [("DE" if number % 2 else "FR",) for number in range(1000)]
    live = [(f"2026-11-20 {number % 24:02}:30:00", "FR" if number < 100 else "DE") for number in range(1000)]
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE orders_before (country TEXT)")
        connection.execute("CREATE TABLE orders (ordered_at TEXT, country TEXT)")
        connection.executemany("INSERT INTO orders_before VALUES (?)", before)
        connection.executemany("INSERT INTO orders VALUES (?, ?)", live)


Ran = subprocess.CompletedProcess[str]


@pytest.fixture
def run(container: Container, volumes: dict[str, str]) -> Callable[..., Ran]:
    def run(*words: str, **environment: str) -> Ran:
        command = container.command(*words, volumes=volumes, environment=environment)
        return subprocess.run(command, capture_output=True, text=True, check=False)

    return run


def test_the_image_tells_its_version(run: Callable[..., Ran]) -> None:
    told = run("drift-monitor", "--version")

    assert told.returncode == 0, told.stderr
    assert told.stdout.split() == ["drift-monitor", __version__]


def test_its_user_can_write_to_the_volume_and_nowhere_else(run: Callable[..., Ran]) -> None:
    places = ["/", "/data", "/etc/drift-monitor", "/opt/drift-monitor", "/opt/drift-monitor/bin", "/usr/local/bin"]
    program = "import os, sys; print(os.getuid(), [path for path in sys.argv[1:] if os.access(path, os.W_OK)])"

    assert run("python3", "-c", program, *places).stdout.strip() == f"{UID} ['/data']"


def test_nothing_of_the_build_stays_in_the_image(run: Callable[..., Ran]) -> None:
    program = "import os, sys; print([path for path in sys.argv[1:] if os.path.exists(path)])"

    assert run("python3", "-c", program, "/src", "/wheels", "/root/.cache/pip").stdout.strip() == "[]"


def test_it_holds_the_driver_of_postgresql(run: Callable[..., Ran]) -> None:
    imported = run("/opt/drift-monitor/bin/python", "-c", "import psycopg; print(psycopg.pq.__impl__)")

    assert imported.stdout.strip() == "binary", imported.stderr


def test_migrate_makes_the_store_in_the_volume(run: Callable[..., Ran], volumes: dict[str, str]) -> None:
    assert run("drift-monitor", "migrate", "--check", CONFIG_FILE).returncode == 1

    migrated = run("drift-monitor", "migrate", CONFIG_FILE)

    assert migrated.returncode == 0, migrated.stderr
    assert run("drift-monitor", "migrate", "--check", CONFIG_FILE).returncode == 0
    assert (Path(volumes["/data"]) / "drift.db").stat().st_uid == UID


def test_evaluate_finds_the_drift(run: Callable[..., Ran]) -> None:
    evaluated = run("drift-monitor", "evaluate", CONFIG_FILE, "--at", "2026-11-21T00:00:00Z", "--format", "json")

    assert evaluated.returncode == 1, evaluated.stderr
    [evaluation] = json.loads(evaluated.stdout)["evaluations"]
    [measurement], [alert] = evaluation["measurements"], evaluation["alerts"]
    assert measurement["kl_live_reference"] == pytest.approx(0.9 * math.log(1.8) + 0.1 * math.log(0.2))
    assert (alert["rule"], alert["state"]) == ("kl_live_reference:warning", "firing")


def test_the_image_serves_as_it_is_and_ends_when_told_to(
    buildah: Buildah, container: Container, volumes: dict[str, str], run: Callable[..., Ran]
) -> None:
    image = buildah.configuration(IMAGE)
    address = f"127.0.0.1:{lasting_port()}"
    health_check, *check = image["Healthcheck"]["Test"]
    where = {"DRIFT_HEALTH_URL": f"http://{address}/-/healthy"}
    assert health_check == "CMD"
    assert run(*check, **where).returncode != 0, "healthy before it runs"

    words = [*image["Entrypoint"], *image["Cmd"], f"--web.listen-address={address}"]
    with started(container.command(*words, volumes=volumes, environment={})) as service:
        wait_until(lambda: answers(f"http://{address}/-/ready"), "it is ready")
        wait_until(lambda: run(*check, **where).returncode == 0, "it is healthy")
        os.kill(daemon_of(Path(volumes["/data"])), getattr(signal, image["StopSignal"]))
        ended = service.wait(PATIENCE_SECONDS)

    assert ended == 0


@contextmanager
def started(command: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, start_new_session=True)
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def daemon_of(data: Path) -> int:
    """The process that holds the store: a chroot has the process numbers of the machine."""
    words = (data / "drift.db.lock").read_text(encoding="utf-8").split()
    return int(words[words.index("pid") + 1])


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=60) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False
