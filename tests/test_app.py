"""The composition root: secrets of a configuration never reach the log."""

import io
import logging

from drift_monitor.app import secrets_of
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
