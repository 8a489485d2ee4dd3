"""The example loads, holds every key there is, and the reference page documents every key."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from drift_monitor.config.fields import Section
from drift_monitor.config.loading import load, parse
from drift_monitor.config.receivers import KINDS
from drift_monitor.config.schema import Config
from drift_monitor.config.web import WebConfig
from drift_monitor.core.divergence import Metric
from tests.config.keys import all_keys

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "config" / "example.yaml"
PAGE = (ROOT / "docs" / "configuration.md").read_text()
HEADINGS = {
    "sources": "`sources`",
    "monitors": "`monitors`",
    "monitors.reference": "`monitors[].reference`",
    "monitors.reference.same_period": "`monitors[].reference.same_period`",
    "monitors.features": "`monitors[].features[]`",
    "monitors.features.bins": "`monitors[].features[].bins`",
    "monitors.smoothing": "`monitors[].smoothing`",
    "monitors.rules": "`rules`",
    **{f"receivers.{kind}": f"`receivers[].{kind}`" for kind in KINDS},
    "": "The file",
}


def test_the_example_loads_without_any_variable_set() -> None:
    assert [monitor.name for monitor in load(EXAMPLE, environ={}).monitors] == [
        "credit_inputs",
        "sessions_by_hour",
        "recent_past",
        "a_good_month",
    ]


def uncommented(text: str) -> str:
    """The example without its prose, commented keys included."""
    lines = (re.sub(r"^(\s*)#(?=\S)", r"\1", line) for line in text.splitlines())
    return "\n".join(line for line in lines if not line.lstrip().startswith("# "))


def written_keys(value: Any, path: tuple[str, ...] = ()) -> set[tuple[tuple[str, ...], str]]:
    if isinstance(value, list):
        return {key for item in value for key in written_keys(item, path)}
    if not isinstance(value, dict):
        return set()
    own = {(path, key) for key in value}
    return own.union(*(written_keys(item, (*path, key)) for key, item in value.items()))


def test_every_key_of_the_models_appears_in_the_example() -> None:
    written = written_keys(yaml.load(uncommented(EXAMPLE.read_text()), Loader=yaml.BaseLoader))
    elsewhere = {(("rules",), key) for key in ("name", "below", "on", "for", "keep_firing_for")}
    elsewhere |= {(("monitors", "reference"), "query")}
    assert set(all_keys(Config)) - elsewhere <= written


def test_every_metric_but_the_explained_pairs_appears_in_the_example() -> None:
    text = EXAMPLE.read_text()
    unused = {Metric.KL_REFERENCE_LIVE, Metric.HELLINGER, Metric.SURPRISE}  # surprise is watched by `false_alarms`
    assert all(f"metric: {metric.value}" in text for metric in set(Metric) - unused)


def table_under(heading: str) -> set[str]:
    """The keys of the first table after a heading."""
    match = re.search(rf"^#+ {re.escape(heading)}$(.*?)(?=^#|\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert match is not None, f"no heading {heading!r}"
    return set(re.findall(r"^\| `(\w+)` \|", match[1], re.MULTILINE))


@pytest.mark.parametrize("model", [Config, WebConfig])
def test_every_key_has_its_row_in_the_reference_page_and_no_other_has(model: type[Section]) -> None:
    sections: dict[str, set[str]] = {}
    for path, key in all_keys(model):
        sections.setdefault(".".join(path), set()).add(key)
    if model is WebConfig:
        sections["Web configuration"] = sections.pop("")
    for name, keys in sections.items():
        assert table_under(HEADINGS.get(name, name if name == "Web configuration" else f"`{name}`")) == keys


def test_every_example_of_a_message_in_the_reference_page_is_in_the_words_of_the_program() -> None:
    for line in re.findall(r"^drift\.yaml:\d+:\d+: (.+)$", PAGE, re.MULTILINE):
        texts = "".join(path.read_text() for path in (Path(__file__).parent / "bad").glob("*.txt"))
        said = re.sub(r"found '.*'|'\w+'|monitors\[\w+\]", "", line)
        assert re.sub(r"found '.*'|'\w+'|monitors\[[\w ]+\]", "", texts).count(said)


def test_the_public_document_can_be_written_and_loaded_again() -> None:
    config = load(EXAMPLE, environ={})
    document = config.public()
    for section in (document["store"], *document["sources"]):
        section["url"] = "sqlite:///x.db"
    for receiver in document["receivers"]:
        kind = receiver[config.receiver(receiver["name"]).integration]
        kind.update({key: "http://127.0.0.1/" for key in ("url", "webhook_url") if key in kind})
        kind.update({key: ["http://127.0.0.1/"] for key in ("urls",) if key in kind})
    again = parse(yaml.safe_dump(document), environ={})
    assert again.public() == config.public()
    assert again.hash == config.hash
