"""The shipped Prometheus configuration: valid, on metrics that exist, each rule tried where it fires and where not."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.prometheus.exposed import exposed_names, metrics_in
from tests.web.promtool import find_promtool

ROOT = Path(__file__).parent.parent.parent
CONFIG = ROOT / "config" / "prometheus"
ALERTS, RECORDING = CONFIG / "rules" / "drift-alerts.yml", CONFIG / "rules" / "drift-recording.yml"
TRIALS = sorted(Path(__file__).parent.glob("*.test.yml"))


def rules_of(path: Path) -> list[dict[str, Any]]:
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    return [rule for group in document["groups"] for rule in group["rules"]]


def promtool(*arguments: object) -> str:
    """What it says, and whether it was content."""
    command = [find_promtool(), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else f"{done.stdout}{done.stderr}"


ALERT_RULES, RECORD_RULES = rules_of(ALERTS), rules_of(RECORDING)
NAMES = [rule["alert"] for rule in ALERT_RULES]


def test_promtool_accepts_the_configuration_with_its_rules() -> None:
    assert promtool("check", "config", CONFIG / "prometheus.yml") == ""


@pytest.mark.parametrize("path", [ALERTS, RECORDING], ids=lambda path: path.stem)
def test_promtool_finds_nothing_to_improve_in_the_rules(path: Path) -> None:
    assert promtool("check", "rules", "--lint=all", "--lint-fatal", path) == ""


@pytest.mark.parametrize("trial", TRIALS, ids=lambda path: path.name.removesuffix(".test.yml"))
def test_rules_do_on_series_what_they_promise(trial: Path) -> None:
    assert promtool("test", "rules", trial) == ""


@pytest.mark.parametrize("name", NAMES)
def test_each_alert_is_tried_where_it_fires_and_where_it_does_not(name: str) -> None:
    tried = [
        bool(one["exp_alerts"])
        for trial in TRIALS
        for group in yaml.safe_load(trial.read_text(encoding="utf-8"))["tests"]
        for one in group.get("alert_rule_test", [])
        if one["alertname"] == name
    ]

    assert set(tried) == {True, False}


def test_each_recorded_series_is_tried() -> None:
    trial = (Path(__file__).parent / "recording.test.yml").read_text(encoding="utf-8")

    assert {rule["record"] for rule in RECORD_RULES} == set(re.findall(r"expr: (\S+)", trial))


@pytest.mark.parametrize("rule", [*ALERT_RULES, *RECORD_RULES], ids=lambda rule: rule.get("alert") or rule["record"])
def test_a_rule_names_metrics_that_exist(rule: dict[str, Any]) -> None:
    texts = [rule["expr"], *rule.get("annotations", {}).values()]
    named = metrics_in(" ".join(re.sub(r"https?://\S+", "", text) for text in texts)) | (
        {"up"} & set(re.findall(r"\w+", rule["expr"]))
    )

    assert named
    assert named <= exposed_names() | {"up"}


@pytest.mark.parametrize("rule", ALERT_RULES, ids=NAMES)
def test_an_alert_says_what_is_wrong_how_bad_it_is_and_where_to_read_on(rule: dict[str, Any]) -> None:
    annotations = rule["annotations"]
    assert annotations["summary"] and annotations["description"]
    assert rule.get("labels", {}).get("severity") in (
        {None} if rule["alert"] == "DataDrift" else {"warning", "critical"}
    )
    page, _, anchor = annotations["runbook_url"].partition("#")
    headings = re.findall(r"^## (\S+)$", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE)
    assert anchor == rule["alert"].lower()
    assert anchor in {heading.lower() for heading in headings}


def test_every_runbook_belongs_to_an_alert() -> None:
    headings = re.findall(
        r"^## (Drift\w+|DataDrift)$", (ROOT / "docs" / "runbooks.md").read_text("utf-8"), re.MULTILINE
    )

    assert headings == NAMES
