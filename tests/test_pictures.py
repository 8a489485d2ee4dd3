"""The pictures of alerts: what they show is what the program tells today, and all of it."""

import html
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from drift_monitor.notify.slack import slack_message
from pictures.__main__ import BODIES, FOLDER
from pictures.catalogue import pictures
from pictures.drawing import draw, hash_of, source_of
from pictures.scene import notifications
from pictures.slack_page import slack_page
from tests.notify.samples import an_alert, stored
from tests.web.browser import Browser, chromium_path

ROOT = Path(__file__).parent.parent
AGAIN = "run `python -m pictures`, look at what it draws, and commit it"
KEPT: Mapping[str, Mapping[str, Any]] = json.loads(BODIES.read_text(encoding="utf-8"))
PICTURES = pictures(KEPT)


def rounded(value: Any) -> Any:
    """Numbers to nine digits: the last ones are those of the machine's logarithm."""
    match value:
        case dict():
            return {name: rounded(one) for name, one in value.items()}
        case list():
            return [rounded(one) for one in value]
        case float():
            return float(f"{value:.9g}")
        case _:
            return value


def test_what_is_shown_is_what_an_evaluation_tells_now() -> None:
    assert rounded(notifications()) == rounded(KEPT), AGAIN


@pytest.mark.parametrize("name", sorted(PICTURES))
def test_picture_was_drawn_from_what_the_renderers_make_now(name: str) -> None:
    assert source_of((FOLDER / f"{name}.png").read_bytes()) == hash_of(PICTURES[name].page), AGAIN


@pytest.mark.parametrize("name", sorted(PICTURES))
def test_readme_shows_the_picture_with_words_for_those_who_do_not_see_it(name: str) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (words,) = re.findall(rf"!\[([^\]]*)\]\(docs/pictures/{name}\.png\)", readme)
    assert len(words.split()) >= 8
    assert "python -m pictures" in readme


@pytest.mark.parametrize(
    "body", [KEPT["team"], stored(an_alert(), an_alert("age", severity="warning")), stored(an_alert(moved_by="<&>"))]
)
def test_page_of_a_slack_message_shows_all_of_its_text(body: Mapping[str, Any]) -> None:
    message = slack_message(body)
    shown = words_of(slack_page(message, sender="drift-monitor", at="12:00"))
    told = [block["text"] for block in message["blocks"] if "text" in block]
    told += [field for block in message["blocks"] for field in block.get("fields", ())]
    for text in told:
        unmarked = re.sub(r"<[^|>]+\|([^>]+)>|```|\*", r"\1", text["text"])
        assert " ".join(html.unescape(unmarked).split()) in shown


def words_of(page: str) -> str:
    body = page[page.index("<body>") :]
    spaced = re.sub(r"<(br|/?p|/?div)\b[^>]*>", " ", body)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", "", spaced)).split())


def test_block_that_is_not_known_is_refused() -> None:
    with pytest.raises(ValueError, match="no such block"):
        slack_page({"blocks": [{"type": "image"}]}, sender="x", at="12:00")


@pytest.mark.processes
def test_drawing_gives_a_picture_that_names_its_page() -> None:
    page = '<!doctype html><div id="picture" style="width:50px;height:20px;background:#c00">x</div>'
    with Browser(chromium_path()) as browser:
        picture = draw(browser, page, 100)
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    assert (int.from_bytes(picture[16:20]), int.from_bytes(picture[20:24])) == (100, 40)  # twice the size
    assert source_of(picture) == hash_of(page)
