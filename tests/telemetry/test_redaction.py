"""Secrets taken out of text."""

import pytest

from drift_monitor.telemetry.logs import Redactor, origin


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql+psycopg://me:hunter2@db:5432/x", "postgresql+psycopg://<secret>@db:5432/x"),
        ("http://:hunter2@h/", "http://<secret>@h/"),
        ("postgresql://u:p@ss@db/x", "postgresql://<secret>@db/x"),
        ("host=db password=hunter2 dbname=x", "host=db password=<secret> dbname=x"),
        ("password='two words' x", "password=<secret> x"),
        ('{"token": "abc"}', '{"token": <secret>}'),
        ("Authorization: Bearer abcdefghijkl", "Authorization: Bearer <secret>"),
        ("https://db.example/path stays", "https://db.example/path stays"),
        ("monitor a:b@c is no URL", "monitor a:b@c is no URL"),
    ],
)
def test_credential_shapes_are_replaced(text: str, shown: str) -> None:
    assert Redactor().redact(text) == shown


def test_known_values_are_replaced_also_when_encoded() -> None:
    redactor = Redactor(["p@ss/word"])
    assert redactor.redact("a p@ss/word b p%40ss%2Fword") == "a <secret> b <secret>"


def test_values_learned_at_a_reload_count_from_then_on() -> None:
    redactor = Redactor(["first-secret"])
    redactor.learn(["second-secret"])
    assert redactor.redact("second-secret") == "<secret>"


def test_very_short_values_do_not_blank_out_words() -> None:
    assert Redactor(["a", ""]).redact("a table") == "a table"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://hooks.example/services/T0/B0/X", "https://hooks.example"),
        ("https://user:pw@hooks.example:8443/x?y=z", "https://hooks.example:8443"),
        ("http://[::1]:80/x", "http://[::1]:80"),
        ("not a url", "<secret>"),
        ("http://[broken", "<secret>"),
        ("http://h:99999/x", "<secret>"),
    ],
)
def test_only_scheme_and_host_of_a_url_are_shown(url: str, shown: str) -> None:
    assert origin(url) == shown
