"""A page as a PNG, drawn by Chromium at twice its size. The picture carries the hash of the page it was made from."""

import base64
import hashlib
import struct
import tempfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.web.browser import Browser

_SIGNATURE_LENGTH = 8
_KEYWORD = b"Source"
_HEIGHT_TO_BEGIN_WITH = 600


def draw(browser: Browser, page: str, width: int) -> bytes:
    """The element `picture` of the page, or all of it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "page.html"
        path.write_text(page, encoding="utf-8")
        return _with_source(_screenshot(browser, path.as_uri(), width), page)


def source_of(picture: bytes) -> str:
    """The hash that `draw` put into a picture."""
    at = _SIGNATURE_LENGTH
    while at < len(picture):
        (length,) = struct.unpack(">I", picture[at : at + 4])
        kind, data = picture[at + 4 : at + 8], picture[at + 8 : at + 8 + length]
        if kind == b"tEXt" and data.startswith(_KEYWORD + b"\0"):
            return data.partition(b"\0")[2].decode("ascii")
        at += 12 + length
    return ""


def hash_of(page: str) -> str:
    """What `source_of` gives for a picture of this page."""
    return hashlib.sha256(page.encode("utf-8")).hexdigest()


def _with_source(picture: bytes, page: str) -> bytes:
    data = _KEYWORD + b"\0" + hash_of(page).encode("ascii")
    chunk = b"tEXt" + data
    header = _SIGNATURE_LENGTH + 12 + 13  # after the signature and the header chunk, where text may stand
    whole = struct.pack(">I", len(data)) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return picture[:header] + whole + picture[header:]


def _is_loaded(event: Mapping[str, Any], loader: str) -> bool:
    params = event.get("params", {})
    return event.get("method") == "Page.lifecycleEvent" and (params["name"], params["loaderId"]) == ("load", loader)


def _screenshot(browser: Browser, url: str, width: int) -> bytes:
    target = browser.call("Target.createTarget", url="about:blank")["targetId"]
    session = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
    browser.call("Page.enable", session)
    browser.call("Page.setLifecycleEventsEnabled", session, enabled=True)
    size: dict[str, Any] = {"width": width, "height": _HEIGHT_TO_BEGIN_WITH, "deviceScaleFactor": 2, "mobile": False}
    browser.call("Emulation.setDeviceMetricsOverride", session, **size)
    loader = browser.call("Page.navigate", session, url=url)["loaderId"]
    browser.wait_for(session, lambda event: _is_loaded(event, loader))
    rectangle = "(document.getElementById('picture') || document.body).getBoundingClientRect().toJSON()"
    found = browser.call("Runtime.evaluate", session, expression=rectangle, returnByValue=True)["result"]["value"]
    clip = {name: found[name] for name in ("x", "y", "width", "height")} | {"scale": 1}
    answer = browser.call("Page.captureScreenshot", session, captureBeyondViewport=True, clip=clip)
    return base64.b64decode(answer["data"])
