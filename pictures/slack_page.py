"""A Slack message as a page: each block of the Block Kit that we send, drawn as Slack's clients draw it.

What is not known here is refused, so that a picture never shows less than the message holds. Slack's text is escaped
as HTML's is (`&amp;`, `&lt;`, `&gt;`), so it goes into the page as it is.
"""

import re
from collections.abc import Mapping
from typing import Any

_CODE = re.compile(r"```(?P<code>.*?)```", re.DOTALL)
_LINK = re.compile(r"<(?P<url>https?://[^|>]+)\|(?P<word>[^>]+)>")
_BOLD = re.compile(r"(?<!\w)\*(?P<text>[^*\n]+)\*(?!\w)")
_STYLE = """
body { margin: 0; background: #fff; color: #1d1c1d; font: 15px/1.46668 Lato, "Liberation Sans", Arial, sans-serif }
.message { display: grid; grid-template-columns: 36px 1fr; column-gap: 8px; width: 640px; padding: 16px 20px }
.icon { width: 36px; height: 36px; border-radius: 8px; background: #2b4c7e; color: #fff; font-weight: 700;
        text-align: center; line-height: 36px }
.from b { font-weight: 900 } .from .app { font-size: 10px; font-weight: 700; color: #616061; background: #e8e8e8;
        border-radius: 2px; padding: 1px 4px; vertical-align: 2px } .from .at { font-size: 12px; color: #616061 }
.header { font-size: 18px; font-weight: 900; line-height: 1.33334; margin: 4px 0 8px }
.section { margin: 0 0 8px } .section p { margin: 0 }
.fields { display: grid; grid-template-columns: 1fr 1fr; gap: 8px 16px; margin-top: 8px }
.code { font: 12px/1.50001 "DejaVu Sans Mono", Menlo, Consolas, monospace; white-space: pre; margin: 4px 0;
        background: #f8f8f8; border: 1px solid #e0e0e0; border-radius: 4px; padding: 8px; overflow: hidden }
.context { font-size: 13px; color: #616061; margin: 0 0 8px }
hr { border: 0; border-top: 1px solid #ddd; margin: 16px 0 }
a { color: #1264a3; text-decoration: none } b { font-weight: 900 }
"""


def slack_page(message: Mapping[str, Any], *, sender: str, at: str) -> str:
    """The message as a channel shows it."""
    blocks = "".join(_block(block) for block in message["blocks"])
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Slack</title><style>{_STYLE}</style></head>'
        f'<body><div class="message" id="picture"><div class="icon">d</div><div><div class="from"><b>{sender}</b> '
        f'<span class="app">APP</span> <span class="at">{at}</span></div>{blocks}</div></div></body></html>\n'
    )


def _block(block: Mapping[str, Any]) -> str:
    match block:
        case {"type": "header", "text": text}:
            return f'<div class="header">{_text(text)}</div>'
        case {"type": "section"}:
            text = f"<p>{_text(block['text'])}</p>" if "text" in block else ""
            fields = "".join(f"<div>{_text(one)}</div>" for one in block.get("fields", ()))
            return f'<div class="section">{text}' + (f'<div class="fields">{fields}</div>' if fields else "") + "</div>"
        case {"type": "divider"}:
            return "<hr>"
        case {"type": "context", "elements": [*elements]}:
            return f'<div class="context">{" ".join(map(_text, elements))}</div>'
        case _:
            raise ValueError(f"no such block is known here: {block}")


def _text(text: Mapping[str, Any]) -> str:
    if text["type"] == "plain_text":
        return str(text["text"])
    whole = str(text["text"])
    parts, end = [], 0
    for code in _CODE.finditer(whole):
        parts += [_marked(whole[end : code.start()]), f'</p><div class="code">{code["code"]}</div><p>']
        end = code.end()
    return "".join([*parts, _marked(whole[end:])])


def _marked(text: str) -> str:
    linked = _LINK.sub(lambda link: f'<a href="{link["url"]}">{link["word"]}</a>', text)
    return _BOLD.sub(lambda bold: f"<b>{bold['text']}</b>", linked).replace("\n", "<br>")
