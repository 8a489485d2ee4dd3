"""Write all dashboards."""

from pathlib import Path

from dashboards.catalogue import DASHBOARDS, as_json

FOLDER = Path(__file__).parent.parent / "config" / "grafana" / "dashboards"


def main() -> None:
    """Each dashboard into a file with its name."""
    for name, make in DASHBOARDS.items():
        (FOLDER / f"{name}.json").write_text(as_json(make()), encoding="utf-8")


if __name__ == "__main__":
    main()
