"""The page for those who run Prometheus and Grafana, typed from top to bottom on one machine.

Every `sh` block is run, every `sql` block is executed, every other block is put where the page says, in their order.
What is not as on the page:

    /etc/..., /run/secrets       the same below a temporary folder
    ports                        free ones; the database server, Prometheus and Alertmanager are started before, with
                                 configurations that know nothing of drift-monitor
    pip install                  installs the wheel of this checkout; what it depends on is lent by this environment
    editing a YAML file          what the page shows is merged into what is there: lists are joined
    drift-monitor run            goes on in the background
    curl, promtool, amtool, notify test
                                 are tried again until they show what the page says they do
"""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from tests.notify.receivers import Receiver, receiver
from tests.ports import lasting_port
from tests.postgresql import PostgresqlServer, find_binaries
from tests.processes.processes import NeverHappened, wait_until
from tests.programs import find_program

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "from-prometheus-and-grafana.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(?P<language>\w*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
PATIENCE_SECONDS = 180.0
# What the page promises of a command: its beginning, and what stands in what it prints.
PROMISED = {
    "drift-monitor check-config": "SUCCESS",
    "drift-monitor migrate": "brought up to date",
    "curl --silent http": 'feature="amount"',
    "promtool check config": "SUCCESS",
    "promtool query": 'feature="amount"',
    "amtool check-config": "SUCCESS",
    "amtool config routes": "data-team",
    "drift-monitor notify test": "resolved accepted",
    "amtool alert query": "amount of public_orders drifted",
}
ASKED_AGAIN = ("curl ", "promtool query", "amtool alert query", "drift-monitor notify test")
KEEPS_RUNNING = "drift-monitor run"
PORTS = {"database": 5432, "service": 8765, "prometheus": 9090, "alertmanager": 9093, "hook": 9095}
FOLDERS = ("/etc/prometheus", "/etc/alertmanager", "/etc/grafana", "/run/secrets")

PROMETHEUS = """
global: {{scrape_interval: 5s, scrape_timeout: 5s, evaluation_interval: 1s}}
scrape_configs:
  - job_name: prometheus
    static_configs: [{{targets: ["127.0.0.1:{prometheus}"]}}]
alerting:
  alertmanagers:
    - static_configs: [{{targets: ["127.0.0.1:{alertmanager}"]}}]
"""
ALERTMANAGER = """
route: {receiver: everybody, group_wait: 0s, group_interval: 1s}
receivers: [{name: everybody}]
"""
# Five weeks, an order a minute; since yesterday every fifth amount is in cents.
ORDERS = """
CREATE TABLE public.orders (created_at timestamptz NOT NULL, amount numeric(10, 2), country text);
INSERT INTO public.orders
SELECT at, round((10 + n % 97) * CASE WHEN n % 5 = 0 AND at > now() - interval '30 hours' THEN 100 ELSE 1 END, 2),
       (ARRAY['DE', 'FR', 'ES', 'IT'])[1 + n % 4]
FROM (SELECT now() - n * interval '1 minute' AS at, n FROM generate_series(0, 35 * 24 * 60) AS n) AS minutes;
CREATE INDEX orders_created_at ON public.orders (created_at);
"""

pytestmark = [pytest.mark.slow, pytest.mark.processes, pytest.mark.timeout(1200)]
register_default_plugins()


@dataclass(frozen=True)
class Typed:
    """One command as it was run, and what came of it."""

    command: str
    exit_code: int
    output: str


@dataclass
class Machine:
    """The reader's machine: a folder in place of its root, the ports of its programs, and a terminal."""

    root: Path
    ports: Mapping[str, int]
    server: PostgresqlServer
    hook: Receiver
    wheel: Path
    stack: ExitStack
    typed: list[Typed] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    _state: list[str] = field(default_factory=list)

    def here(self, text: str) -> str:
        """What the page says, with the folders and ports of this machine."""
        for folder in FOLDERS:
            text = text.replace(folder, f"{self.root}{folder}")
        for name, port in PORTS.items():
            text = text.replace(f"127.0.0.1:{port}", f"127.0.0.1:{self.ports[name]}")
        return text

    def follow(self, language: str, body: str) -> None:
        """Do what one block of the page says."""
        match language:
            case "sh":
                for command in commands(body):
                    self._type(self.here(command))
            case "sql":
                self._execute(body)
            case _ if body.startswith("DRIFT_"):
                self.environment = dict(line.split("=", 1) for line in self.here(body).splitlines())
            case _:
                self._edit(yaml.safe_load(self.here(body)))

    def _type(self, command: str) -> None:
        if command.startswith("pip install"):
            command = f"pip install --quiet --no-index --no-deps {self.wheel}"
            (site,) = (self.root / "home").glob("drift-venv/lib/python*/site-packages")
            (site / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
        if command.startswith(KEEPS_RUNNING):
            self.stack.enter_context(self._running(command))
            return
        if command.startswith(("export ", ". ")):
            self._state.append(command)
        last = self._until_as_promised(command) if command.startswith(ASKED_AGAIN) else self._run(command)
        self.typed.append(last)
        assert is_as_promised(last), f"{command}\nexit code {last.exit_code}\n{last.output}{self._log()}"

    def _until_as_promised(self, command: str) -> Typed:
        """What came of the last try; that it did not do what it should is told by whoever looks at it."""
        tries: list[Typed] = []

        def try_again() -> bool:
            tries.append(self._run(command))
            return is_as_promised(tries[-1])

        with suppress(NeverHappened):
            wait_until(try_again, command, PATIENCE_SECONDS)
        return tries[-1]

    def _run(self, command: str) -> Typed:
        done = subprocess.run(
            self._shell(command),
            cwd=self.root / "home",
            env=self._env(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        return Typed(command, done.returncode, done.stdout)

    def _shell(self, command: str) -> list[str]:
        return ["bash", "-e", "-o", "pipefail", "-c", "\n".join([*self._state, command])]

    def _env(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "DRIFT_"))}
        return {**kept, "PATH": f"{Path(sys.executable).parent}:{kept['PATH']}"}

    @contextmanager
    def _running(self, command: str) -> Iterator[None]:
        with (self.root / "service.log").open("wb") as log:
            arguments = self._shell(f"exec {command}")
            process = subprocess.Popen(
                arguments, cwd=self.root / "home", env=self._env(), stdout=log, stderr=subprocess.STDOUT
            )
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _log(self) -> str:
        log = self.root / "service.log"
        return f"\nThe service's log:\n{log.read_text()[-3000:]}" if log.exists() else ""

    def _execute(self, body: str) -> None:
        """As an administrator, in the database that the page names."""
        with self.connect("drift" if "drift_viewer" in body else "shop") as connection:
            for statement in filter(str.strip, body.split(";")):
                connection.execute(statement)

    def connect(self, database: str, user: str = "postgres") -> "psycopg.Connection[tuple[object, ...]]":
        return self.server.connect(database, user)

    def _edit(self, added: Mapping[str, Any]) -> None:
        name = "prometheus" if "scrape_configs" in added else "alertmanager"
        path = self.root / "etc" / name / f"{name}.yml"
        merged = joined(yaml.safe_load(path.read_text(encoding="utf-8")), added)
        path.write_text(yaml.safe_dump(merged), encoding="utf-8")

    def ask(self, name: str, path: str) -> Any:
        """What the API of Prometheus or Alertmanager answers."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[name]}{path}", timeout=30) as answer:
            return json.load(answer)


def commands(body: str) -> Sequence[str]:
    """The commands of a block: a line each, or a line and the text that follows up to `END`."""
    return re.findall(r"^(?:.*<<'END'\n(?:.*\n)*?END|.+)$", body, re.MULTILINE)


def is_as_promised(done: Typed) -> bool:
    promised = [text for start, text in PROMISED.items() if done.command.startswith(start)]
    return done.exit_code == 0 and all(text in done.output for text in promised)


def joined(there: Any, added: Any) -> Any:
    """A YAML file with more in it."""
    if isinstance(there, dict) and isinstance(added, dict):
        return {**there, **{key: joined(there[key], one) if key in there else one for key, one in added.items()}}
    assert isinstance(there, list) and isinstance(added, list), f"{there} and {added} can't be joined"
    return [*there, *added]


@contextmanager
def started(command: Sequence[str], log: Path, ready: str) -> Iterator[None]:
    """A program of the reader's that runs already."""
    with log.open("wb") as sink:
        process = subprocess.Popen(command, stdout=sink, stderr=subprocess.STDOUT)
    try:
        wait_until(lambda: answers(ready), f"{command[0]} is ready: {log.read_text()[-2000:]}", PATIENCE_SECONDS)
        yield
    finally:
        process.terminate()
        process.wait(60)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except OSError:
        return False


@pytest.fixture(scope="module")
def machine(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """The reader's machine before the page: three programs, a table, and somebody to be told."""
    binaries = find_binaries()
    assert binaries is not None, "no PostgreSQL: install the server, or the test dependency pgserver"
    prometheus = find_program("prometheus", package="prometheus")
    alertmanager = find_program("prometheus-alertmanager", package="prometheus-alertmanager")
    find_program("promtool", package="prometheus")
    find_program("amtool", package="prometheus-alertmanager")
    find_program("curl", package="curl")
    root = tmp_path_factory.mktemp("machine")
    (root / "home").mkdir()
    with ExitStack() as stack:
        server = PostgresqlServer(binaries)
        stack.callback(server.close)
        hook = stack.enter_context(receiver())
        ports = {name: lasting_port() for name in ("service", "prometheus", "alertmanager")}
        ports |= {"database": server.port, "hook": hook.port}
        with server.connect() as connection:
            connection.execute("CREATE DATABASE shop")
        with server.connect("shop") as connection:
            connection.execute(ORDERS)
        for name, text in (("prometheus", PROMETHEUS.format(**ports)), ("alertmanager", ALERTMANAGER)):
            (root / "etc" / name).mkdir(parents=True)
            (root / "etc" / name / f"{name}.yml").write_text(text, encoding="utf-8")
        stack.enter_context(_prometheus(prometheus, root, ports["prometheus"]))
        stack.enter_context(_alertmanager(alertmanager, root, ports["alertmanager"]))
        yield Machine(root, ports, server, hook, wheel, stack)


def _prometheus(program: str, root: Path, port: int) -> Any:
    flags = (f"--config.file={root}/etc/prometheus/prometheus.yml", f"--storage.tsdb.path={root}/tsdb")
    listen = (f"--web.listen-address=127.0.0.1:{port}", "--web.enable-lifecycle")
    return started((program, *flags, *listen), root / "prometheus.log", f"http://127.0.0.1:{port}/-/ready")


def _alertmanager(program: str, root: Path, port: int) -> Any:
    flags = (f"--config.file={root}/etc/alertmanager/alertmanager.yml", f"--storage.path={root}/alertmanager-data")
    listen = (f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address=")
    return started((program, *flags, *listen), root / "alertmanager.log", f"http://127.0.0.1:{port}/-/ready")


@pytest.fixture(scope="module")
def walked(machine: Machine) -> Machine:
    """The machine after the last line of the page; whatever fails on the way fails here, by its command."""
    for block in BLOCK.finditer(PAGE):
        machine.follow(block["language"], block["body"])
    return machine


def test_every_command_does_what_the_page_says(walked: Machine) -> None:
    shown = [
        command for block in BLOCK.finditer(PAGE) if block["language"] == "sh" for command in commands(block["body"])
    ]

    assert len(shown) == len(walked.typed) + 1  # and the one that goes on
    for start in PROMISED:
        assert any(one.command.startswith(start) for one in walked.typed), start


def test_the_program_that_ran_is_the_one_that_was_installed(walked: Machine) -> None:
    found = walked._run("command -v drift-monitor; python -c 'import drift_monitor; print(drift_monitor.__file__)'")

    assert [line.startswith(f"{walked.root}/home/drift-venv/") for line in found.output.splitlines()] == [True, True]


def test_the_team_is_told_of_the_drift_once_with_all_that_is_known(walked: Machine) -> None:
    # A group of alerts may begin with either of them; the other follows in the next notification.
    alert = wait_until(lambda: critical_drift(walked.hook), "a notification of the drift", PATIENCE_SECONDS)

    assert (alert["labels"]["monitor"], alert["labels"]["feature"]) == ("public_orders", "amount")
    said = alert["annotations"]
    assert {"since", "value", "interval_low", "interval_high", "noise_floor", "threshold", "direction"} <= set(said)
    assert said["dashboard_url"] == (
        "http://127.0.0.1:3000/d/drift-feature?var-monitor=public_orders&var-feature=amount"
    )
    with urllib.request.urlopen(said["runbook_url"], timeout=30) as page:
        assert 'id="datadrift"' in page.read().decode()
    with urllib.request.urlopen(alert["generatorURL"], timeout=30) as page:
        assert page.status == 200


def critical_drift(hook: Receiver) -> dict[str, Any] | None:
    bodies = [json.loads(one.body) for one in hook.received]
    assert {body["receiver"] for body in bodies} <= {"data-team"}
    alerts = [alert for body in bodies for alert in body["alerts"]]
    labels = {"alertname": "DataDrift", "severity": "critical"}
    return next((one for one in alerts if labels.items() <= one["labels"].items()), None)


def test_prometheus_scrapes_and_keeps_the_drift_itself_to_the_service(walked: Machine) -> None:
    def firing() -> list[str]:
        alerts = walked.ask("prometheus", "/api/v1/alerts")["data"]["alerts"]
        return [one["labels"]["alertname"] for one in alerts if one["state"] == "firing"]

    def health() -> dict[str, str]:
        targets = walked.ask("prometheus", "/api/v1/targets?state=active")["data"]["activeTargets"]
        return {one["labels"]["job"]: one["health"] for one in targets}

    wait_until(lambda: health() == {"prometheus": "up", "drift": "up"}, "both jobs are scraped", PATIENCE_SECONDS)
    wait_until(lambda: "DataDrift" in firing(), "the rule fires", PATIENCE_SECONDS)
    told = walked.ask("alertmanager", "/api/v2/alerts")
    drift = [one for one in told if one["labels"]["alertname"] == "DataDrift"]
    assert drift and all("rule" in one["labels"] for one in drift), "Prometheus has told of it as well"


def test_grafana_finds_its_dashboards_and_data_sources(walked: Machine) -> None:
    provisioning = walked.root / "etc" / "grafana" / "provisioning"
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "drift.yml").read_text())["providers"]
    dashboards = sorted(Path(walked.here(provider["options"]["path"])).glob("*.json"))
    loaded = {path.stem: Dashboard.from_json(json.loads(path.read_text(encoding="utf-8"))) for path in dashboards}
    assert {name: one.uid for name, one in loaded.items()} == {
        name: name for name in ("drift-feature", "drift-overview", "drift-service")
    }
    sources = (provisioning / "datasources" / "drift.yml").read_text(encoding="utf-8")
    assert set(re.findall(r"\$\{(\w+)\}", sources)) == set(walked.environment)
    assert walked.environment["DRIFT_PROMETHEUS_URL"] == f"http://127.0.0.1:{walked.ports['prometheus']}"


def test_grafana_can_read_the_store_as_it_is_told_to(walked: Machine) -> None:
    sources = (walked.root / "etc/grafana/provisioning/datasources/drift.yml").read_text(encoding="utf-8")
    (password_file,) = re.findall(r"\$__file\{(.*?)\}", sources)
    (store,) = [one for one in yaml.safe_load(sources)["datasources"] if one["type"] == "postgres"]
    host, port = walked.environment["DRIFT_STORE_HOST"].split(":")
    with psycopg.connect(
        host=host,
        port=port,
        user=store["user"],
        password=Path(walked.here(password_file)).read_text(encoding="utf-8"),
        dbname=walked.environment["DRIFT_STORE_DATABASE"],
        sslmode=walked.environment["DRIFT_STORE_SSLMODE"],
    ) as viewer:
        found = viewer.execute("SELECT feature FROM drift_episodes WHERE severity = 'critical'").fetchall()
        assert found == [("amount",)]
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            viewer.execute("SELECT * FROM measurement")


def test_nothing_of_the_page_is_left_out() -> None:
    assert {block["language"] for block in BLOCK.finditer(PAGE)} == {"sh", "sql", ""}
    assert PAGE.count("```") == 2 * len(BLOCK.findall(PAGE))
    assert not re.search(r"systemctl|docker", PAGE)
    assert shutil.which("bash")
