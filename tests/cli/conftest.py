"""Shops: one whose last hours have drifted, one where nothing happened."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.shop import Shop, fire, open_shop


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return open_shop(tmp_path)


@pytest.fixture
def quiet_shop(tmp_path: Path) -> Shop:
    return open_shop(tmp_path, drifted_hours=0)


@pytest.fixture
def firing(shop: Shop) -> Shop:
    return fire(shop)


@pytest.fixture(autouse=True)
def log_as_before() -> Iterator[None]:
    """Commands set up the log of the process they run in; here that is the tests' own."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:], root.level = handlers, level
    logging.captureWarnings(capture=False)
