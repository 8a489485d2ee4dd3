"""What the pages about Prometheus and Grafana tell people to type does what they say."""

import re
import shutil
import subprocess
from pathlib import Path

import yaml

from tests.dashboards.grafana import FILES
from tests.programs import find_program
from tests.web.promtool import find_promtool

ROOT = Path(__file__).parent.parent.parent
FENCE = re.compile(r"^ *```\n(?P<body>.*?)^ *```$", re.MULTILINE | re.DOTALL)


def block(page: str, beginning: str) -> str:
    """The one block of a page that begins so."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    (found,) = (body for body in FENCE.findall(text) if body.strip().startswith(beginning))
    return str(found)


def type_in(commands: str, folder: Path) -> None:
    done = subprocess.run(["sh", "-euc", commands], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_copying_as_told_puts_everything_where_grafana_looks(tmp_path: Path) -> None:
    etc = tmp_path / "grafana"
    for folder in ("datasources", "dashboards"):  # as Grafana's packages make them
        (etc / "provisioning" / folder).mkdir(parents=True)
    type_in(block("grafana.md", "cp config/grafana").replace("/etc/grafana", str(etc)), ROOT)

    (provider,) = yaml.safe_load((etc / "provisioning" / "dashboards" / "drift.yml").read_text())["providers"]
    found = Path(provider["options"]["path"].replace("/etc/grafana", str(etc))).glob("*.json")
    assert sorted(path.name for path in found) == [path.name for path in FILES]
    assert (etc / "provisioning" / "datasources" / "drift.yml").exists()


def test_the_environment_that_is_shown_is_the_one_the_data_sources_read() -> None:
    shown = set(re.findall(r"^ *(\w+)=", block("grafana.md", "DRIFT_PROMETHEUS_URL="), re.MULTILINE))
    sources = (ROOT / "config" / "grafana" / "provisioning" / "datasources" / "drift.yml").read_text(encoding="utf-8")

    assert shown == set(re.findall(r"\$\{(\w+)\}", sources))
    secret = re.search(r"\$__file\{(.*?)\}", sources)
    assert secret and secret[1] in (ROOT / "docs" / "grafana.md").read_text(encoding="utf-8")


def test_putting_own_addresses_into_the_rules_leaves_them_valid(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "config" / "prometheus", tmp_path, dirs_exist_ok=True)
    type_in(block("prometheus.md", "sed"), tmp_path)

    text = (tmp_path / "rules" / "drift-alerts.yml").read_text(encoding="utf-8")
    assert "127.0.0.1" not in text and "docs/runbooks.md" not in text
    assert "https://grafana.example.com/d/drift-feature" in text
    type_in(f"{find_promtool()} check config prometheus.yml", tmp_path)


def test_the_checks_that_are_shown_pass() -> None:
    text = (ROOT / "docs" / "prometheus.md").read_text(encoding="utf-8")
    shown = re.findall(r"`(promtool [^`]*)`", text)

    assert len(shown) == 2
    for command in shown:
        type_in(command.replace("promtool", find_promtool(), 1), ROOT)


def test_the_routing_that_is_shown_pages_for_critical_alerts_only(tmp_path: Path) -> None:
    amtool = find_program("amtool", package="prometheus-alertmanager")
    config = tmp_path / "alertmanager.yml"
    config.write_text(
        block("prometheus.md", "route:") + "receivers: [{name: team}, {name: oncall}]\n", encoding="utf-8"
    )
    for severity, receiver in (("critical", "oncall"), ("warning", "team")):
        type_in(
            f"{amtool} config routes test --config.file={config} --verify.receivers={receiver} "
            f"alertname=DataDrift monitor=orders severity={severity}",
            tmp_path,
        )
