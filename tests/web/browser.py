"""A real Chromium, spoken to over a pipe: what it draws, and everything it complains about.

with Browser(chromium_path()) as browser:
    page = browser.open(url, width=390, height=800)
    page.evaluate("document.title"), page.complaints, page.screenshot()
"""

import base64
import fcntl
import json
import os
import select
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.programs import find_program

_SWITCHES = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
    "--remote-debugging-pipe",
)  # fmt: skip
_TIMEOUT = 120.0  # on a busy machine
_COMPLAINTS = {"Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Page.javascriptDialogOpening"}


def chromium_path() -> str:
    """The browser."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return find_program(*names, package="chromium fonts-dejavu-core")


class Browser:
    """One browser process with a profile of its own."""

    def __init__(self, path: str) -> None:
        self._profile = tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True)
        read_end_of_browser, write_end = os.pipe()
        read_end, write_end_of_browser = os.pipe()
        # Chromium reads from descriptor 3 and writes to 4; move ours out of their way first.
        browser_in = fcntl.fcntl(read_end_of_browser, fcntl.F_DUPFD, 10)
        browser_out = fcntl.fcntl(write_end_of_browser, fcntl.F_DUPFD, 10)
        self._process = subprocess.Popen(
            [path, *_SWITCHES, f"--user-data-dir={self._profile.name}", "about:blank"],
            pass_fds=(3, 4),
            preexec_fn=lambda: (os.dup2(browser_in, 3), os.dup2(browser_out, 4)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for descriptor in (read_end_of_browser, write_end_of_browser, browser_in, browser_out):
            os.close(descriptor)
        self._write, self._read = write_end, read_end
        self._pending = b""
        self._last_id = 0
        self.events: list[dict[str, Any]] = []

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *raised: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._write)
        os.close(self._read)
        self._profile.cleanup()

    def call(self, method: str, session: str | None = None, **parameters: object) -> dict[str, Any]:
        """Ask the browser; events that come in between are kept."""
        self._last_id += 1
        message: dict[str, object] = {"id": self._last_id, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._last_id:
                assert "error" not in answer, f"{method}: {answer['error']}"
                result: dict[str, Any] = answer["result"]
                return result
            self.events.append(answer)

    def wait_for(self, session: str, is_awaited: Callable[[dict[str, Any]], bool]) -> None:
        """Until there is such an event, those that have come already included."""
        seen = 0
        while True:
            for event in self.events[seen:]:
                seen += 1
                if event.get("sessionId") == session and is_awaited(event):
                    return
            self.events.append(self._next())

    def _next(self) -> dict[str, Any]:
        deadline = time.monotonic() + _TIMEOUT
        while b"\0" not in self._pending:
            left = deadline - time.monotonic()
            assert left > 0 and select.select([self._read], [], [], left)[0], "the browser does not answer"
            chunk = os.read(self._read, 1 << 20)
            assert chunk, f"the browser has ended with code {self._process.poll()}"
            self._pending += chunk
        message, _, self._pending = self._pending.partition(b"\0")
        answer: dict[str, Any] = json.loads(message)
        return answer

    def open(self, url: str, *, width: int = 1280, height: int = 900, dark: bool = False) -> "Page":
        """The page at this address in a tab of its own, loaded."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Audits"):
            self.call(f"{domain}.enable", session)
        self.call("Page.setLifecycleEventsEnabled", session, enabled=True)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", session, features=[scheme])
        self.call(
            "Emulation.setDeviceMetricsOverride",
            session,
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        page = Page(self, session)
        loader = self.call("Page.navigate", session, url=url)["loaderId"]
        # The empty page that the tab opened with is loaded, too, perhaps only now: the event must be of this one.
        self.wait_for(session, lambda event: _is_loaded(event, loader))
        return page


class Page:
    """One loaded page."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser = browser
        self._session = session

    def evaluate(self, expression: str) -> Any:
        """The value of an expression in the page; the page's own policy does not hold for it."""
        result = self._browser.call("Runtime.evaluate", self._session, expression=expression, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def wait_for_complaint(self, word: str) -> None:
        """Until the browser has complained of something in these words."""
        self._browser.wait_for(self._session, lambda event: _is_complaint(event) and word in json.dumps(event))

    @property
    def complaints(self) -> list[str]:
        """Console messages, script errors, dialogs, violations of the content security policy, failed loads."""
        self.evaluate("0")  # whatever was said before has arrived once this is answered
        own = [event for event in self._browser.events if event.get("sessionId") == self._session]
        return [json.dumps(event["params"]) for event in own if _is_complaint(event)]

    def screenshot(self, path: Path) -> Path:
        """The whole page as a picture."""
        content = self._browser.call("Page.captureScreenshot", self._session, captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(content["data"]))
        return path


def _is_loaded(event: dict[str, Any], loader: str) -> bool:
    params = event.get("params", {})
    return event.get("method") == "Page.lifecycleEvent" and (params["name"], params["loaderId"]) == ("load", loader)


def _is_complaint(event: dict[str, Any]) -> bool:
    if event.get("method") == "Audits.issueAdded":
        return str(event["params"]["issue"]["code"]) == "ContentSecurityPolicyIssue"
    return event.get("method") in _COMPLAINTS
