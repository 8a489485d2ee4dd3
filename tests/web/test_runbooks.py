"""The page of the runbooks: everything of `docs/runbooks.md`, and a section for whatever an alert links to."""

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from drift_monitor.alerting.annotations import SelfAlert, runbook_url
from drift_monitor.shipped import RUNBOOKS, shipped
from drift_monitor.web.pages.routes import page_routes
from drift_monitor.web.pages.runbooks import read_sections
from tests.web.browser import Browser, chromium_path
from tests.web.filled import open_store
from tests.web.markup import Element
from tests.web.serving import serving
from tests.web.test_pages import Visitor

TEXT = shipped(RUNBOOKS).read_text(encoding="utf-8")


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Element]:
    services = open_store(tmp_path)
    with serving(routes=tuple(page_routes(lambda: services, services.clock))) as service:
        yield Visitor(service).get("/runbooks")
    services.store.close()


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text)


def test_page_says_what_the_file_says_word_by_word(page: Element) -> None:
    links_cut = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", TEXT)
    numbers_cut = re.sub(r"^\d+\. ", "", links_cut, flags=re.MULTILINE)
    assert words(page.one("main").text) == words(numbers_cut)


def test_no_markup_of_the_file_is_left_on_the_page(page: Element) -> None:
    text = page.one("main").text
    assert not re.search(r"`|\]\(|\*\w|^#|^\d+\. ", text, re.MULTILINE)
    assert len(page.all("code")) == TEXT.count("`") // 2
    assert len(page.all("li")) == len(re.findall(r"^\d+\. ", TEXT, re.MULTILINE))


def test_every_section_has_the_anchor_that_alerts_link_to(page: Element) -> None:
    headings = re.findall(r"^## (.+)$", TEXT, re.MULTILINE)
    anchors = {heading.attributes["id"] for heading in page.all("h2")}
    assert anchors == {urlsplit(runbook_url("https://drift.example.com/x/", name)).fragment for name in headings}
    assert {"DataDrift", *SelfAlert} <= set(headings), "what the service itself sends"
    assert runbook_url("https://drift.example.com/x/", "DataDrift") == "https://drift.example.com/x/runbooks#datadrift"


def test_markup_is_read_as_text_where_it_is_none() -> None:
    (section,) = read_sections(
        "# A b\n\nOne `x*y*` is 2 * 3 * 4, see\n*this* [page](#a-b) and [file](../f.md).\n\n1. a\n   b\n2. c\n"
    )
    paragraph, numbered = section.blocks
    assert section.anchor == "a-b"
    assert [(one.kind, one.text) for one in paragraph.items[0]] == [
        ("text", "One "),
        ("code", "x*y*"),
        ("text", " is 2 * 3 * 4, see "),
        ("em", "this"),
        ("text", " "),
        ("link", "page"),
        ("text", " and "),
        ("text", "file"),
        ("text", "."),
    ]
    assert numbered.is_list and [item[0].text for item in numbered.items] == ["a b", "c"]


@pytest.mark.processes
def test_page_fits_a_phone_and_keeps_to_its_own_policy(tmp_path: Path) -> None:
    services = open_store(tmp_path)
    with (
        serving(routes=tuple(page_routes(lambda: services, services.clock))) as service,
        Browser(chromium_path()) as browser,
    ):
        shown = browser.open(f"{service.url}/runbooks#datadrift", width=390, height=800)
        assert shown.evaluate("document.documentElement.scrollWidth") <= 390
        assert shown.complaints == []
    services.store.close()
