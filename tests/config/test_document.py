"""YAML into plain values: the 1.2 core schema, aliases within limits, variables in values only."""

from pathlib import Path

import pytest

from drift_monitor.config.document import LARGEST_FILE, parse_document, read_text
from drift_monitor.errors import ConfigError

ENVIRON = {"USER": "drift", "EMPTY": "", "NUMBER": "5"}


def value_of(text: str) -> object:
    document = parse_document(text, "file.yaml", ENVIRON)
    assert document.problems == ()
    return document.value


def test_on_yes_and_no_are_text_as_keys_and_as_values() -> None:
    assert value_of("on: yes\nno: off") == {"on": "yes", "no": "off"}


def test_plain_numbers_are_numbers_and_quoted_ones_text() -> None:
    assert value_of("[1, -2, 1.5, 1e-3, .5, '1', \"2\", 010, 1:30, 1_000]") == [
        1, -2, 1.5, 0.001, 0.5, "1", "2", 10, "1:30", "1_000",
    ]  # fmt: skip


def test_dates_are_text() -> None:
    assert value_of("from: 2026-09-01") == {"from": "2026-09-01"}


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("${USER}", "drift"),
        ("a-${USER}-${NUMBER}", "a-drift-5"),
        ("${MISSING:-x y}", "x y"),
        ("${MISSING:-}", ""),
        ("${EMPTY:-x}", "x"),
        ("${EMPTY}", ""),
        ("${USER:-x}", "drift"),
        ("$USER $$ $1 $(x) {USER}", "$USER $$ $1 $(x) {USER}"),
        ("$${USER}", "${USER}"),
        ("$2y$10$abcdef", "$2y$10$abcdef"),
    ],
)
def test_only_dollar_brace_starts_a_variable(written: str, read: str) -> None:
    assert value_of(f"key: '{written}'") == {"key": read}


def test_what_a_variable_holds_is_not_expanded_again() -> None:
    document = parse_document("key: ${OUTER}", "file.yaml", {"OUTER": "${USER}", "USER": "x"})
    assert document.value == {"key": "${USER}"}


def test_keys_are_not_expanded() -> None:
    assert value_of("'${USER}': 1") == {"${USER}": 1}


def test_aliases_and_merges_give_the_values_of_their_anchors() -> None:
    assert value_of("a: &a {x: 1, y: 2}\nb: *a\nc: {<<: *a, y: 3}\nd: {<<: [{x: 4}, *a]}") == {
        "a": {"x": 1, "y": 2},
        "b": {"x": 1, "y": 2},
        "c": {"y": 3, "x": 1},
        "d": {"x": 4, "y": 2},
    }


def test_aliases_that_multiply_are_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    with pytest.raises(ConfigError, match="aliases repeat more than 50,000 values"):
        parse_document("\n".join(lines), "file.yaml", {})


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(ConfigError, match="more than 64 levels of nesting"):
        parse_document("[" * 10_000, "file.yaml", {})


def test_a_large_file_is_refused_before_it_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "large.yaml"
    path.write_bytes(b"#" * (LARGEST_FILE + 1))
    with pytest.raises(ConfigError, match="larger than 1 MB"):
        read_text(path)


def test_a_file_that_is_not_utf8_is_refused_at_the_first_wrong_byte(tmp_path: Path) -> None:
    path = tmp_path / "latin.yaml"
    path.write_bytes("store: 1\nname: ä".encode() + b"\xe4")
    with pytest.raises(ConfigError) as caught:
        read_text(path)
    assert (caught.value.problems[0].line, caught.value.problems[0].column) == (2, 8)


def test_a_missing_file_is_a_problem_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="can't be read: No such file"):
        read_text(tmp_path / "nowhere.yaml")


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "bom.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1")
    assert read_text(path) == "a: 1"


@pytest.mark.parametrize(
    "text",
    [
        '"\\UFFFFFFFF"',
        '"\\uD800"',
        "a: \x00",
        "%YAML 999999999999999999999999.1\n---\na",
        "*a",
        "&a &b x",
        "!<%FF> x",
        "\x85",
    ],
)
def test_strange_text_raises_nothing_but_a_config_error(text: str) -> None:
    try:
        document = parse_document(text, "file.yaml", {})
    except ConfigError:
        return
    assert document.problems or document.value
