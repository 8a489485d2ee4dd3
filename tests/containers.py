"""Images built and run without an engine: Debian's buildah in a folder of its own, programs in a chroot.

The base image comes from Debian's archive (debootstrap) and stands in under the name that a Dockerfile asks for, so no
registry of images is needed. Programs in a chroot share the network of the machine. It takes root.
"""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.programs import find_program

SUITE = "bookworm"
PACKAGES = "python3,python3-venv,ca-certificates"
# Every step of a build copies the tree.
BALLAST = ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/locale", "usr/share/man")
# What of pip's settings says where packages come from.
PIP_KEYS = ("index-url", "extra-index-url", "find-links", "no-index", "trusted-host", "cert", "proxy")
# Where libraries look for certificates if pip itself was told nothing.
CERTIFICATES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
PIP_SETTING = re.compile(r"(?:global|install|:env:)\.(?P<key>[\w-]+)=(?P<value>.*)")


class Buildah:
    """Images and containers under `folder`."""

    def __init__(self, folder: Path) -> None:
        if os.geteuid() != 0:
            pytest.skip("only root can build an image here")
        program = find_program("buildah", package="buildah")
        self._folder = folder
        self._policy = folder / "policy.json"
        self._policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}', encoding="utf-8")
        self._command = [program, "--storage-driver", "vfs", "--root", f"{folder}/images", "--runroot", f"{folder}/run"]

    def import_debian(self, image: str) -> None:
        """A small Debian with Python, as an image of that name."""
        debootstrap = find_program("debootstrap", package="debootstrap")
        container = self._do("from", "--signature-policy", self._policy, "scratch").strip()
        tree = Path(self._do("mount", container).strip())
        _succeed([debootstrap, "--variant=minbase", f"--include={PACKAGES}", SUITE, str(tree)])
        for ballast in BALLAST:
            shutil.rmtree(tree / ballast)
        self._do("umount", container)
        self._do("commit", "--quiet", "--signature-policy", self._policy, "--rm", container, image)

    def build(self, context: Path, image: str) -> None:
        """The Dockerfile of a folder, with packages from where pip of this machine takes them."""
        settings = self._folder / "pip.conf"
        settings.write_text(pip_configuration(), encoding="utf-8")
        volumes = {Path("/etc/pip.conf"): settings} | {path: path for path in local_paths(settings.read_text("utf-8"))}
        mounts = [word for inside, outside in volumes.items() for word in ("--volume", f"{outside}:{inside}:ro")]
        how = ["--isolation", "chroot", "--network", "host", "--format", "docker", "--pull-never"]
        self._do("bud", *how, "--signature-policy", self._policy, *mounts, "--tag", image, context)

    def configuration(self, image: str) -> dict[str, Any]:
        """Entry point, user, health check: what an engine reads from the image."""
        found: dict[str, Any] = json.loads(self._do("inspect", "--type", "image", image))["Docker"]["config"]
        return found

    @contextmanager
    def container(self, image: str) -> Iterator["Container"]:
        name = self._do("from", "--signature-policy", self._policy, "--pull-never", image).strip()
        try:
            yield Container(self._command, name)
        finally:
            self._do("rm", name)

    def _do(self, *arguments: object) -> str:
        return _succeed([*self._command, *map(str, arguments)])


class Container:
    """A working container: each command runs in its tree, as its user, with the volumes it is given."""

    def __init__(self, command: list[str], name: str) -> None:
        self._command, self._name = command, name

    def command(self, *words: str, volumes: Mapping[str, str], environment: Mapping[str, str]) -> list[str]:
        """The words to start on this machine so that `words` run inside. `volumes` maps `/inside[:ro]` to outside."""
        mounts = [word for inside, outside in volumes.items() for word in ("--volume", f"{outside}:{inside}")]
        variables = [word for name, value in environment.items() for word in ("--env", f"{name}={value}")]
        return [*self._command, "run", "--isolation", "chroot", *mounts, *variables, self._name, "--", *words]


def pip_configuration() -> str:
    """Where pip of this machine takes packages from, by its files and its environment, as one file."""
    found: dict[str, str] = {}
    listed = _succeed([sys.executable, "-m", "pip", "config", "list"]).splitlines()
    # The environment wins over files, as in pip.
    for line in sorted(listed, key=lambda line: line.startswith(":env:")):
        setting = PIP_SETTING.fullmatch(line)
        if setting and setting["key"] in PIP_KEYS:
            found[setting["key"]] = " ".join(ast.literal_eval(setting["value"]).split())
    trusted = next((os.environ[name] for name in CERTIFICATES if os.environ.get(name)), None)
    if trusted is not None:
        found.setdefault("cert", trusted)
    return "\n".join(["[global]", *(f"{key} = {value}" for key, value in found.items()), ""])


def local_paths(settings: str) -> set[Path]:
    """Files and folders of this machine that a configuration of pip names."""
    words = [word.removeprefix("file://") for word in settings.split()]
    named = [Path(word) for word in words if word.startswith("/")]
    # An index keeps the files beside its pages.
    paths = {path.parent if path.name == "simple" else path for path in named}
    return {path for path in paths if path.exists()}


def _succeed(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command[:8])} ...:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout
