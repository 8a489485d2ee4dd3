"""Each bad file stands beside the exact text it must produce."""

from pathlib import Path

import pytest

from drift_monitor.config.loading import load
from drift_monitor.errors import ConfigError

BAD = Path(__file__).parent / "bad"


@pytest.mark.parametrize("name", sorted(path.stem for path in BAD.glob("*.yaml")))
def test_bad_file_produces_exactly_the_text_beside_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(BAD)
    with pytest.raises(ConfigError) as caught:
        load(f"{name}.yaml", environ={})
    assert str(caught.value) + "\n" == (BAD / f"{name}.txt").read_text()


def test_no_expected_text_is_without_its_file() -> None:
    assert {path.stem for path in BAD.glob("*.txt")} == {path.stem for path in BAD.glob("*.yaml")}


def test_no_message_shows_a_secret() -> None:
    secrets = ("hunter2", "secret-token")
    assert any(secret in path.read_text() for path in BAD.glob("*.yaml") for secret in secrets)
    assert not any(secret in path.read_text() for path in BAD.glob("*.txt") for secret in secrets)
