"""The composition root: secrets of a configuration never reach the log; what is done before the daemon is served."""

import io
import logging
import threading
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from queue import Queue

from drift_monitor.alerting.services import Services
from drift_monitor.app import ServeOptions, Service, secrets_of
from drift_monitor.config.loading import parse
from drift_monitor.telemetry.logs import INFO, LogFormat, configure, learn_secrets, log

CONFIG = """
store: {url: "postgresql://drift:st0re-pa55@db/drift"}
sources: [{name: shop, url: "postgresql://reader:sh0p-pa55@db/shop"}]
monitors: []
receivers:
  - name: hook
    webhook: {url: "https://hooks.example/T0KEN/very-private", secret: s1gning-key}
"""


def test_no_secret_of_the_configuration_reaches_a_log_line() -> None:
    root = logging.getLogger()
    before, level, stream = list(root.handlers), root.level, io.StringIO()
    try:
        configure("info", LogFormat.LOGFMT, stream=stream)
        learn_secrets(secrets_of(parse(CONFIG, environ={})))
        leaked = "st0re-pa55 sh0p-pa55 https://hooks.example/T0KEN/very-private s1gning-key"
        log(logging.getLogger("somewhere"), INFO, "leak", f"A message that quotes {leaked}.")
    finally:
        root.handlers, root.level = before, level
    line = stream.getvalue()
    assert "A message that quotes" in line
    for secret in ("st0re-pa55", "sh0p-pa55", "T0KEN", "s1gning-key"):
        assert secret not in line


def test_pages_are_served_while_something_is_done_before_the_daemon_and_an_end_of_it_is_the_end(tmp_path: Path) -> None:
    ports: Queue[int] = Queue()
    seen: list[tuple[str, int]] = []
    config = f"store: {{url: 'sqlite:///{tmp_path / 'drift.db'}'}}\nsources: []\nmonitors: []\n"

    def before(services: Services, is_ending: Callable[[], bool]) -> None:
        port = ports.get(timeout=60)
        for path in ("/", "/metrics", "/-/ready", "/-/healthy"):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as answer:
                seen.append((path, answer.status))
        assert not is_ending()
        service.end()
        assert is_ending()
        assert {thread.name for thread in threading.enumerate()}.isdisjoint({"watchdog", "APScheduler"})

    service = Service(parse(config, environ={}), replace(ServeOptions(listen_address="127.0.0.1:0"), before=before))
    assert service.run(ports.put) == 0
    assert seen == [("/", 200), ("/metrics", 200), ("/-/ready", 200), ("/-/healthy", 200)]
