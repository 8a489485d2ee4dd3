"""Matchers mean the alerts that Alertmanager's would."""

import pytest

from drift_monitor.core.matching import Matcher, Operator, check_matchers, match_all, parse_matcher
from drift_monitor.errors import InputError

LABELS = {"monitor": "payments", "feature": "amount", "severity": "warning"}


@pytest.mark.parametrize(
    ("text", "is_meant"),
    [
        ("severity=warning", True),
        ('severity="warning"', True),
        ("severity = warning", True),
        ("severity=warn", False),
        ("severity!=warning", False),
        ("severity!=critical", True),
        ("feature=~amount|price", True),
        ("feature=~amo", False),  # the whole value, not a part of it
        ("feature=~amo.*", True),
        ("feature!~price|country", True),
        ("feature!~.*", False),
        ("segment=", True),  # a label that is missing is empty
        ("segment!=", False),
        ("segment=~.+", False),
    ],
)
def test_a_matcher_means_what_its_operator_says(text: str, is_meant: bool) -> None:
    assert parse_matcher(text).matches(LABELS) is is_meant


def test_quotes_keep_blanks_and_escapes() -> None:
    assert parse_matcher(r'rule=" a \"b\" \\ "').value == ' a "b" \\ '
    assert parse_matcher("rule=a=b!=c").value == "a=b!=c"


@pytest.mark.parametrize("text", ["", "payments", "=x", "1a=x", 'a="x', 'a="x"y', "feature=~(", r"feature=~(a)\1"])
def test_what_is_no_matcher_is_named(text: str) -> None:
    with pytest.raises(InputError) as raised:
        parse_matcher(text)
    assert repr(text) in str(raised.value) or "RE2" in str(raised.value)


def test_an_expression_that_explodes_elsewhere_is_answered_at_once() -> None:
    evil = parse_matcher("feature=~(a*)*b")
    assert not evil.matches({"feature": "a" * 100_000})


@pytest.mark.parametrize("operator", list(Operator))
def test_json_round_trip_has_the_fields_of_alertmanager(operator: Operator) -> None:
    matcher = Matcher(name="feature", operator=operator, value="a.b")
    document = matcher.to_json()
    assert set(document) == {"name", "value", "isRegex", "isEqual"}
    assert Matcher.from_json(document) == matcher
    assert parse_matcher(str(matcher)) == matcher


@pytest.mark.parametrize("texts", [[], ["segment="], ["feature=~.*"], ["feature!=x"]])
def test_matchers_that_mean_everything_by_accident_are_refused(texts: list[str]) -> None:
    with pytest.raises(InputError, match="at least one matcher"):
        check_matchers([parse_matcher(text) for text in texts])


def test_one_matcher_that_asks_for_a_value_is_enough() -> None:
    check_matchers([parse_matcher("segment="), parse_matcher("monitor=payments")])


def test_all_matchers_must_mean_the_alert() -> None:
    both = [parse_matcher("monitor=payments"), parse_matcher("severity=critical")]
    assert not match_all(both, LABELS)
    assert match_all(both[:1], LABELS)
