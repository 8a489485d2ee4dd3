"""`compose.yaml`: valid, closed to the outside, pinned; and what its containers run, run here on a real PostgreSQL."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from click.testing import CliRunner

from drift_monitor.cli.main import main
from drift_monitor.config.web import WebConfig
from drift_monitor.web.access import allowed_hosts, bind_problem, parse_address
from tests.postgresql import PASSWORD, PLAIN, PostgresqlServer, find_binaries
from tests.programs import find_program
from tests.web.promtool import find_promtool

ROOT = Path(__file__).parent.parent
CONFIG = ROOT / "config" / "compose"
DOCUMENT: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, Any] = DOCUMENT["services"]
each_service = pytest.mark.parametrize("name", sorted(SERVICES))


def run(*command: object, **environment: str) -> str:
    """What a command that succeeds prints."""
    done = subprocess.run(
        list(map(str, command)), env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_file_keeps_to_the_specification() -> None:
    program = Path(sys.executable).parent / "check-jsonschema"

    run(program, "--builtin-schema", "vendor.compose-spec", ROOT / "compose.yaml")


@each_service
def test_images_are_pinned_and_ports_are_on_loopback(name: str) -> None:
    service = SERVICES[name]

    assert re.search(r":v?\d+\.\d+(\.\d+)?$", service["image"]), service["image"]
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_one_program_has_one_version() -> None:
    versions: dict[str, set[str]] = {}
    for service in SERVICES.values():
        image, _, tag = service["image"].rpartition(":")
        versions.setdefault(image, set()).add(tag)

    assert all(len(tags) == 1 for tags in versions.values())


@each_service
def test_every_file_that_is_mounted_is_there_and_read_only(name: str) -> None:
    for volume in SERVICES[name].get("volumes", []):
        source, _, _ = volume.partition(":")
        if source.startswith("."):
            assert (ROOT / source).exists(), source
            assert volume.endswith(":ro"), volume
        else:
            assert source in DOCUMENT["volumes"]


@each_service
def test_passwords_come_from_files(name: str) -> None:
    service = SERVICES[name]
    for key, value in service.get("environment", {}).items():
        if "PASSWORD" in key:
            assert key.endswith("FILE") and value.startswith("/run/secrets/")
    for secret in service.get("secrets", []):
        assert (secret if isinstance(secret, str) else secret["source"]) in DOCUMENT["secrets"]


def test_every_secret_is_made_and_stays_when_made_again(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    run("sh", CONFIG / "make-secrets.sh", folder)
    before = {path.name: path.read_text() for path in folder.iterdir()}
    run("sh", CONFIG / "make-secrets.sh", folder)

    assert {path.name: path.read_text() for path in folder.iterdir()} == before
    assert {Path(secret["file"]).name for secret in DOCUMENT["secrets"].values()} == set(before)
    assert all(len(text) >= 32 for text in before.values())
    assert folder.stat().st_mode & 0o077 == 0
    assert "config/compose/secrets" in (ROOT / ".gitignore").read_text()


def test_the_programs_accept_their_configurations(tmp_path: Path) -> None:
    shutil.copy(CONFIG / "prometheus.yml", tmp_path)
    shutil.copytree(ROOT / "config" / "prometheus" / "rules", tmp_path / "rules")

    run(find_promtool(), "check", "config", tmp_path / "prometheus.yml")
    run(find_program("amtool", package="prometheus-alertmanager"), "check-config", CONFIG / "alertmanager.yml")


def test_prometheus_and_the_health_check_ask_under_names_the_service_answers_to() -> None:
    service = SERVICES["drift-monitor"]
    flags = dict(flag.removeprefix("--").split("=", 1) for flag in service["command"] if "=" in flag)
    hosts = allowed_hosts(parse_address(flags["web.listen-address"]), (flags["web.external-url"],))
    (job,) = yaml.safe_load((CONFIG / "prometheus.yml").read_text())["scrape_configs"]

    assert job["job_name"] == "drift"
    assert hosts.allow(job["static_configs"][0]["targets"][0])
    assert hosts.allow(service["environment"]["DRIFT_HEALTH_URL"].split("/")[2])
    assert hosts.allow("127.0.0.1:8765")
    assert bind_problem(flags["web.listen-address"], WebConfig(), allow_unauthenticated=True) is None


def test_grafana_finds_what_is_provisioned() -> None:
    service = SERVICES["grafana"]
    mounted = {volume.split(":")[1] for volume in service["volumes"]}
    provisioning = ROOT / "config" / "grafana" / "provisioning"
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "drift.yml").read_text())["providers"]
    sources = (provisioning / "datasources" / "drift.yml").read_text()

    assert provider["options"]["path"] in mounted
    assert {"/etc/grafana/provisioning/datasources", "/etc/grafana/provisioning/dashboards"} <= mounted
    assert set(re.findall(r"\$\{(\w+)\}", sources)) <= set(service["environment"])
    targets = {one["target"] for one in service["secrets"] if isinstance(one, dict)}
    assert set(re.findall(r"\$__file\{/run/secrets/(\w+)\}", sources)) <= targets


@dataclass(frozen=True, kw_only=True)
class Databases:
    """A server that the scripts of compose have set up, and the secrets they used."""

    server: PostgresqlServer
    secrets: Path

    def connect(self, user: str, database: str) -> "psycopg.Connection[tuple[object, ...]]":
        names = {"drift": "drift", "drift_reader": "reader", "drift_viewer": "viewer"}
        password = (self.secrets / f"{names[user]}_password").read_text()
        login = {"host": "127.0.0.1", "port": self.server.port, "user": user, "password": password, "dbname": database}
        return psycopg.connect(**login, autocommit=True, options=PLAIN)

    def evaluate(self, config: Path, at: datetime) -> int:
        """`drift-monitor evaluate` for the window that ends at `at`; its exit code says whether there is drift."""
        return CliRunner().invoke(main, ["evaluate", f"--config.file={config}", f"--at={at.isoformat()}"]).exit_code


@pytest.fixture(scope="module")
def databases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Databases]:
    """A server of its own, since roles belong to a whole server."""
    find_program("psql", package="postgresql-client")
    binaries = find_binaries()
    assert binaries is not None
    secrets = tmp_path_factory.mktemp("compose") / "secrets"
    run("sh", CONFIG / "make-secrets.sh", secrets)
    server = PostgresqlServer(binaries)
    try:
        login = {"PGHOST": "127.0.0.1", "PGPORT": str(server.port), "PGPASSWORD": PASSWORD}
        run("bash", CONFIG / "databases.sh", SECRETS=str(secrets), SHOP=str(CONFIG / "shop.sql"), **login)
        for url in ("store_url", "shop_url"):
            path = secrets / url
            path.write_text(path.read_text().replace("@postgres:5432", f"@127.0.0.1:{server.port}"))
        yield Databases(server=server, secrets=secrets)
    finally:
        server.close()


def test_the_service_finds_the_drift_of_odd_hours_and_none_in_even_ones(databases: Databases, tmp_path: Path) -> None:
    config = tmp_path / "drift.yaml"
    text = (CONFIG / "drift.yaml").read_text(encoding="utf-8")
    config.write_text(text.replace("/run/secrets", str(databases.secrets)), encoding="utf-8")
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    odd_end = hour - timedelta(hours=2 + hour.hour % 2)  # an even hour begins then, so an odd one has ended
    assert CliRunner().invoke(main, ["migrate", f"--config.file={config}"]).exit_code == 0

    assert databases.evaluate(config, odd_end - timedelta(hours=1)) == 0
    assert databases.evaluate(config, odd_end) == 1
    login = {"PGHOST": "127.0.0.1", "PGPORT": str(databases.server.port), "PGUSER": "postgres", "PGPASSWORD": PASSWORD}
    run("psql", "--quiet", f"--file={CONFIG / 'views.sql'}", PGDATABASE="drift", **login)
    with databases.connect("drift_viewer", "drift") as viewer:
        assert viewer.execute("SELECT count(*) FROM drift_measurements").fetchone() == (6,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            viewer.execute("SELECT * FROM measurement")


def test_the_shop_goes_on_from_its_last_order(databases: Databases) -> None:
    with databases.server.connect("shop") as shop:
        shop.execute("DELETE FROM orders WHERE created_at > now() - interval '10 minutes'")
        (called,) = shop.execute("SELECT now()").fetchone() or ()
        shop.execute("CALL append_orders()")
        found = shop.execute(
            "SELECT max(gap), max(created_at), now() FROM "
            "(SELECT created_at, created_at - lag(created_at) OVER (ORDER BY created_at) AS gap FROM orders) AS gaps"
        ).fetchone()

    assert found is not None
    gap, newest, now = found
    assert gap == timedelta(seconds=3)
    assert called - timedelta(seconds=10) < newest <= now


def test_the_reader_reads_and_nothing_else(databases: Databases) -> None:
    with databases.connect("drift_reader", "shop") as reader:
        assert reader.execute("SELECT count(*) > 20000 FROM orders").fetchone() == (True,)
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            reader.execute("DELETE FROM orders")
