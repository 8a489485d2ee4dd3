"""Whatever stands in the file: a configuration, or a ConfigError with problems that have a place in it."""

import re
from pathlib import Path

import yaml
from hypothesis import given
from hypothesis import strategies as st

from drift_monitor.config.loading import parse
from drift_monitor.config.schema import Config
from drift_monitor.errors import ConfigError
from tests.config.keys import all_keys
from tests.examples import examples

EXAMPLE = Path(__file__).parents[2] / "config" / "example.yaml"
TOKENS = sorted(set(re.findall(r"\w+|[^\w\s]|\n +", EXAMPLE.read_text())))
KEYS = st.sampled_from(sorted({key for _, key in all_keys(Config)}))
SCALARS = (
    st.text(max_size=8)
    | st.integers()
    | st.floats()
    | st.booleans()
    | st.none()
    | st.sampled_from(
        ["1h", "7d", "all", "UTC", "sqlite:///x.db", "2026-09-01", "5 * * * *", "${A}", "psi", "warehouse"]
    )
)
DOCUMENTS = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=6), max_leaves=40
)


def check(text: str) -> None:
    try:
        config = parse(text, file="config.yaml", environ={})
    except ConfigError as error:
        assert error.problems
        lines = text.count("\n") + 2
        assert all(1 <= problem.line <= lines and problem.column >= 1 and problem.message for problem in error.problems)
    else:
        assert config.hash


@given(st.text(max_size=200))
@examples(200)
def test_arbitrary_text_raises_nothing_but_a_config_error(text: str) -> None:
    check(text)


@given(st.lists(st.sampled_from(TOKENS), max_size=60).map(" ".join))
@examples(200)
def test_shuffled_words_of_the_example_raise_nothing_but_a_config_error(text: str) -> None:
    check(text)


@given(st.dictionaries(st.sampled_from(["store", "sources", "monitors", "rules", "receivers"]), DOCUMENTS))
@examples(200)
def test_arbitrary_structures_of_known_keys_raise_nothing_but_a_config_error(document: object) -> None:
    check(yaml.safe_dump(document, allow_unicode=True))


@given(st.data())
@examples(150)
def test_the_example_with_one_value_changed_raises_nothing_but_a_config_error(data: st.DataObject) -> None:
    lines = EXAMPLE.read_text().splitlines()
    index = data.draw(st.integers(0, len(lines) - 1))
    key, colon, _ = lines[index].partition(": ")
    change = data.draw(
        st.text(max_size=10) | st.sampled_from(["~", "[]", "{}", "-1", "1e400", "'", "0", "1w", "*a", "${"])
    )
    lines[index] = key + colon + change
    check("\n".join(lines))
