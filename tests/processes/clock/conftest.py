"""The shim is compiled once; each test has a clock of its own."""

from pathlib import Path

import pytest

from tests.processes.clock.shim import ShiftedClock, compile_shim


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_shim(tmp_path_factory.mktemp("shim"))


@pytest.fixture
def clock(shim: Path, tmp_path: Path) -> ShiftedClock:
    return ShiftedClock(shim, tmp_path / "shift")
