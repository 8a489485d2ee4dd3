"""The package as others get it: built once a run, installed once into an environment that holds nothing else."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def build(folder: Path) -> None:
    """The sdist, and the wheel made from it."""
    _succeed(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT)


def the_wheel(folder: Path) -> Path:
    (found,) = folder.glob("*.whl")
    return found


def install(wheel: Path, environment: Path) -> None:
    """The wheel and what it asks for. Bytecode is written for what is imported, not for all that is installed."""
    _succeed(sys.executable, "-m", "venv", "--without-pip", environment)
    pip = (sys.executable, "-m", "pip", "--python", environment, "--quiet", "--disable-pip-version-check")
    _succeed(*pip, "install", "--no-compile", "--require-hashes", "--requirement", ROOT / "requirements.lock")
    _succeed(*pip, "install", "--no-compile", "--no-deps", wheel)


def _succeed(*command: str | Path) -> None:
    done = subprocess.run(command, cwd=ROOT.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
