"""Programs that tests need beyond the environment. Where one is missing its tests are skipped, and in CI that fails."""

import shutil

import pytest


def find_program(*names: str, package: str) -> str:
    """The path of the first of these that is installed; `package` is where Debian has it."""
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"{names[0]} is missing: apt-get install -y --no-install-recommends {package}")
    return found
