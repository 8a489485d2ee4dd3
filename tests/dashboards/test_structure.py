"""The committed dashboards: generated, complete, and following the rules of Grafana's own dashboard linter."""

import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards.catalogue import DASHBOARDS, as_json
from tests.dashboards.grafana import FILES, FOLDER, load, panels, targets
from tests.prometheus.exposed import exposed_names, metrics_in

PROVISIONING = FOLDER.parent / "provisioning"
# Rules that count on the data of every instance of a counter; `time() -` and gauges need none.
COUNTER = re.compile(r"(?<![\w:])\w+_(?:total|bucket|sum|count)\b")

register_default_plugins()
each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


def test_all_dashboards_are_committed() -> None:
    assert [path.stem for path in FILES] == sorted(DASHBOARDS)


@each_file
def test_generating_gives_the_committed_file(path: Path) -> None:
    generated = as_json(DASHBOARDS[path.stem]())

    assert generated == path.read_text(encoding="utf-8"), "run `python -m dashboards`, and commit what it writes"


@each_file
def test_every_key_is_one_that_grafana_knows(path: Path) -> None:
    text = path.read_text(encoding="utf-8")

    assert as_json(Dashboard.from_json(json.loads(text))) == text


@each_file
def test_a_dashboard_can_be_provisioned_over_and_over(path: Path) -> None:
    document = load(path)

    assert document["uid"] == path.stem
    assert len(document["uid"]) <= 40
    assert document.get("id") is None
    assert document["editable"] is False
    assert document["schemaVersion"] <= 38, "Grafana 10.0 knows 38"
    assert document["title"] and document["description"] and document["tags"]


def test_uids_and_titles_are_unique() -> None:
    documents = [load(path) for path in FILES]

    assert len({one["uid"] for one in documents}) == len({one["title"] for one in documents}) == len(documents)


@each_file
def test_every_panel_says_what_it_shows_in_which_unit_and_from_where(path: Path) -> None:
    titles = []
    for panel in panels(load(path)):
        titles.append(panel["title"])
        assert panel["title"] and panel["title"][0].isupper(), panel
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["targets"], panel["title"]
        for source in (panel["datasource"], *(target["datasource"] for target in panel["targets"])):
            assert source in (
                {"type": "prometheus", "uid": "${datasource}"},
                {"type": "postgres", "uid": "${store}"},
            ), panel["title"]
        references = [target["refId"] for target in panel["targets"]]
        assert len(set(references)) == len(references), panel["title"]
    assert len(set(titles)) == len(titles)


@each_file
def test_panels_have_numbers_of_their_own_and_do_not_overlap(path: Path) -> None:
    document = load(path)
    numbers = [panel["id"] for panel in document["panels"]]
    assert len(set(numbers)) == len(numbers)
    places = [(panel["title"], panel["gridPos"]) for panel in document["panels"]]
    for title, at in places:
        assert at["x"] >= 0 and at["x"] + at["w"] <= 24 and at["h"] > 0, title
    for (one, a), (other, b) in itertools.combinations(places, 2):
        apart = (
            a["x"] + a["w"] <= b["x"]
            or b["x"] + b["w"] <= a["x"]
            or a["y"] + a["h"] <= b["y"]
            or b["y"] + b["h"] <= a["y"]
        )
        assert apart, f"{one} and {other} overlap"


@each_file
def test_variables_choose_the_data_sources_the_job_and_what_is_shown(path: Path) -> None:
    variables = {one["name"]: one for one in load(path)["templating"]["list"]}

    assert variables["datasource"] | {"type": "datasource", "query": "prometheus"} == variables["datasource"]
    assert variables["datasource"]["label"] == "Data source"
    assert "job" in variables
    for one in variables.values():
        assert one["label"], one["name"]
        if one["type"] == "query":
            assert one["datasource"]["uid"] == "${datasource}"
            assert one["refresh"] == 2, "on change of the time range"
            assert metrics_in(one["query"]["query"]) <= exposed_names()


@each_file
def test_every_variable_is_used_and_known(path: Path) -> None:
    document = load(path)
    known = {one["name"] for one in document["templating"]["list"]}
    queries = json.dumps([document["panels"], document["annotations"], document["templating"]])
    used = {name for name in re.findall(r"\$\{?(\w+)", queries) if not name.startswith("__")}

    assert used == known


@pytest.mark.parametrize("target", list(targets("prometheus")), ids=lambda target: target.name)
def test_a_promql_query_is_about_metrics_that_exist_in_the_chosen_job(target: Any) -> None:
    expression = target.query["expr"]
    named = metrics_in(expression)

    assert named <= exposed_names()
    assert named or expression.startswith("up{")
    assert expression.count("{") == expression.count('job="$job"'), "each selector keeps to the job"
    for counter in COUNTER.finditer(expression):
        assert re.search(r"(?:rate|increase)\($", expression[: counter.start()]), "a counter is only read as a rate"
    for interval in re.findall(r"\[([^\]]*)\]", expression):
        assert interval == "$__rate_interval"


@pytest.mark.parametrize("target", list(targets("postgres")), ids=lambda target: target.name)
def test_a_sql_query_quotes_what_users_choose_and_keeps_to_the_chosen_time(target: Any) -> None:
    text = target.query["rawSql"]

    assert "$__time" in text
    assert re.findall(r"\$\{(\w+)(?!\w|:sqlstring\})", text) == []
    assert not re.search(r"\$__\w+\([^)]*\(", text), "a macro ends at its first closing parenthesis"
    assert set(re.findall(r"(?:FROM|JOIN) (\w+)", text)) <= {"drift_measurements", "drift_histograms", "drift_episodes"}


def _provisioned(folder: str) -> dict[str, Any]:
    return dict(yaml.safe_load((PROVISIONING / folder / "drift.yml").read_text(encoding="utf-8")))


def test_data_sources_are_provisioned_for_both_kinds_without_a_secret() -> None:
    sources = {one["uid"]: one for one in _provisioned("datasources")["datasources"]}

    assert {uid: one["type"] for uid, one in sources.items()} == {
        "drift-prometheus": "prometheus",
        "drift-postgres": "postgres",
    }
    for one in sources.values():
        assert one["url"].startswith("${") and one["access"] == "proxy"
        assert all(secret.startswith("$__file{") for secret in one.get("secureJsonData", {}).values())
    assert "password" not in sources["drift-postgres"]


def test_dashboards_are_provisioned_into_a_folder_and_stay_as_committed() -> None:
    (provider,) = _provisioned("dashboards")["providers"]

    assert provider["folder"] == "Drift"
    assert provider["type"] == "file" and provider["options"]["path"]
    assert provider["allowUiUpdates"] is False and provider["disableDeletion"] is True
