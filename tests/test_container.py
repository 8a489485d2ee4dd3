"""The Dockerfile read as text: what it copies, whom it runs as, how it stops. `test_image` builds it."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
INSTRUCTION = re.compile(r"^([A-Z]+)\s+(.*)$")


def _instructions() -> list[tuple[str, str]]:
    """(keyword, arguments) of each instruction, continuation lines joined."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [match.groups() for line in joined.splitlines() if (match := INSTRUCTION.match(line))]


def _arguments(keyword: str) -> list[str]:
    return [arguments for found, arguments in _instructions() if found == keyword]


def _final_stage() -> list[tuple[str, str]]:
    instructions = _instructions()
    last = max(index for index, (keyword, _) in enumerate(instructions) if keyword == "FROM")
    return instructions[last + 1 :]


def _copied_from_context() -> list[str]:
    copies = [arguments.split() for arguments in _arguments("COPY")]
    return [path.removeprefix("./") for words in copies if not words[0].startswith("--") for path in words[:-1]]


def test_hadolint_has_nothing_to_say() -> None:
    hadolint = shutil.which("hadolint") or shutil.which("hadolint", path=str(Path(sys.executable).parent))
    if hadolint is None:
        pytest.fail("hadolint is missing: install the lint dependencies (make lint does)")
    checked = subprocess.run([hadolint, str(ROOT / "Dockerfile")], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_build_stage_gets_everything_the_wheel_is_made_of() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {"pyproject.toml", "LICENSE", project["project"]["readme"], *wheel["packages"], *wheel["force-include"]}

    assert needed <= set(_copied_from_context())


def test_every_copied_path_exists_and_passes_the_dockerignore() -> None:
    allowed = {line[1:] for line in _ignore_lines() if line.startswith("!")}

    for path in _copied_from_context():
        assert (ROOT / path).exists(), path
        assert path in allowed, f"{path} is kept out by .dockerignore"


def test_the_context_is_closed_but_for_what_is_named() -> None:
    assert _ignore_lines()[0] == "*"


def test_dependencies_are_the_locked_ones() -> None:
    installs = [arguments for arguments in _arguments("RUN") if "pip install" in arguments]

    assert installs
    assert all("--require-hashes --requirement requirements.lock" in install for install in installs)
    assert all("--no-deps" in part for install in installs for part in install.split("&&")[1:])


def test_it_runs_as_a_numbered_user_that_is_not_root() -> None:
    users = [arguments for keyword, arguments in _final_stage() if keyword == "USER"]

    assert users == ["65532:65532"]


def test_nothing_runs_as_root_after_the_user_is_set() -> None:
    keywords = [keyword for keyword, _ in _final_stage()]

    assert not {"RUN", "COPY"} & set(keywords[keywords.index("USER") :])


def test_data_is_the_one_writable_volume() -> None:
    assert [json.loads(arguments) for arguments in _arguments("VOLUME")] == [["/data"]]


def test_signals_reach_the_daemon_itself() -> None:
    assert _arguments("STOPSIGNAL") == ["SIGTERM"]
    assert [json.loads(arguments) for arguments in _arguments("ENTRYPOINT")] == [["drift-monitor"]]
    assert [json.loads(arguments) for arguments in _arguments("CMD")] == [
        ["run", "--config.file=/etc/drift-monitor/drift.yaml"]
    ]


def test_the_health_check_is_python_that_compiles_and_asks_for_healthy() -> None:
    [check] = _arguments("HEALTHCHECK")
    command = json.loads(check[check.index("[") :])
    environment = " ".join(_arguments("ENV"))

    assert command[:2] == ["python3", "-c"]
    compile(command[2], "healthcheck", "exec")
    assert "DRIFT_HEALTH_URL" in command[2]
    assert 'DRIFT_HEALTH_URL="http://localhost:8765/-/healthy"' in environment


def test_files_are_copied_never_added() -> None:
    assert _arguments("ADD") == []


def _ignore_lines() -> list[str]:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]
