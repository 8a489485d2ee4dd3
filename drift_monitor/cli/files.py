"""`drift-monitor files`: what Prometheus and Grafana need, for those who have installed the package."""

from pathlib import Path

import click

from drift_monitor.cli.printing import emit, escape_lines
from drift_monitor.errors import InputError
from drift_monitor.shipped import shipped_files


@click.command()
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
@click.option("--force", is_flag=True, help="Also write over files that have another content.")
def files(directory: Path, force: bool) -> None:
    """Write the configurations of Prometheus and Grafana that belong to this version into DIRECTORY.

    Rules, an example of a scrape configuration, data sources, providers and dashboards. A file there that has another
    content is left alone, and nothing is written at all, unless --force is given.
    """
    found = [(source.read_bytes(), directory / place) for source, place in shipped_files()]
    changed = [path for content, path in found if path.exists() and path.read_bytes() != content]
    if changed and not force:
        names = ", ".join(str(path) for path in changed)
        raise InputError(f"there are files with another content: {names}; keep them elsewhere, or write with --force")
    for content, path in found:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        emit(escape_lines(str(path)))
