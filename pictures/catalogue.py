"""Which pictures there are, and the pages they are drawn from."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from html import escape
from typing import Any

from drift_monitor.config.schema import MonitorConfig
from drift_monitor.notify.email import compose
from drift_monitor.notify.slack import slack_message
from pictures.slack_page import slack_page

_SENDER, _RECIPIENT = "Drift <drift@example.org>", "data-team@example.org"
_MAIL_STYLE = """
body { margin: 0; background: #fff } #picture { width: 680px; padding: 18px 22px }
.subject { font: 600 18px Arial, sans-serif; margin: 0 0 4px } .head { font: 13px Arial, sans-serif; color: #666;
border-bottom: 1px solid #ddd; padding-bottom: 10px; margin-bottom: 16px }
"""


@dataclass(frozen=True)
class Picture:
    """One picture: whose message it shows, how wide its page is, and the page."""

    receiver: str
    width: int
    page: str


def pictures(bodies: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Picture]:
    """Name to picture, of what is told to the receivers of the scene."""
    return {
        "alert-slack": Picture("team", 680, _slack(bodies["team"])),
        "alert-email": Picture("data-team", 724, _mail(bodies["data-team"])),
    }


def _slack(body: Mapping[str, Any]) -> str:
    return slack_page(slack_message(body), sender="drift-monitor", at=_sent(body)[11:16])


def _mail(body: Mapping[str, Any]) -> str:
    """The HTML part as it is sent, below the head that a mail program shows."""
    moment = datetime.fromisoformat(_sent(body))
    mail = compose("00000000-0000-0000-0000-000000000000", body, moment, sender=_SENDER, recipients=[_RECIPIENT])
    part = mail.get_body(("html",))
    if part is None:
        raise ValueError("the mail has no HTML part")
    head = f'<p class="subject">{escape(mail["Subject"])}</p><div class="head">{escape(_SENDER)} to {_RECIPIENT}</div>'
    framed = f'<style>{_MAIL_STYLE}</style><div id="picture">{head}'
    start, end = "<body", "</body>"
    html = str(part.get_content())
    opening = html.index(">", html.index(start)) + 1
    return html[:opening] + framed + html[opening : html.index(end)] + "</div>" + html[html.index(end) :]


def _sent(body: Mapping[str, Any]) -> str:
    """When the window of the scene is settled: that is when it is evaluated, and the message goes out."""
    settle: timedelta = MonitorConfig.model_fields["settle"].default
    return (datetime.fromisoformat(body["alerts"][0]["startsAt"]) + settle).isoformat()
