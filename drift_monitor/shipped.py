"""Files that come with the program beside its code: configurations of Prometheus and Grafana, and the runbooks.

In an installed package they lie in its folder `files`, in a checkout where they are edited; the names are the same.
"""

from collections.abc import Iterator
from pathlib import Path

RUNBOOKS = "docs/runbooks.md"
PROMETHEUS, GRAFANA = "config/prometheus", "config/grafana"


def shipped(name: str) -> Path:
    """The file or folder of that name."""
    package = Path(__file__).parent
    packed = package / "files"
    return (packed if packed.is_dir() else package.parent) / name


def shipped_files() -> Iterator[tuple[Path, Path]]:
    """What Prometheus and Grafana take: where each file lies, and its place below a folder of one's own."""
    for name in (PROMETHEUS, GRAFANA):
        folder = shipped(name)
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                yield path, Path(folder.name) / path.relative_to(folder)
