"""Evaluate the scene, keep what it told, and draw it.

Needs Chromium, and fonts with the letters of such messages: fonts-lato, fonts-liberation, fonts-dejavu-core and
fonts-noto-color-emoji on Debian.
"""

import json
from pathlib import Path

from pictures.catalogue import pictures
from pictures.drawing import draw
from pictures.scene import notifications
from tests.web.browser import Browser, chromium_path

FOLDER = Path(__file__).parent.parent / "docs" / "pictures"
BODIES = FOLDER / "alert.json"


def main() -> None:
    """Each picture into a file with its name, and the notifications they show beside them."""
    bodies = notifications()
    BODIES.write_text(json.dumps(bodies, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    with Browser(chromium_path()) as browser:
        for name, picture in pictures(bodies).items():
            (FOLDER / f"{name}.png").write_bytes(draw(browser, picture.page, picture.width))


if __name__ == "__main__":
    main()
