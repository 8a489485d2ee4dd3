"""Names and labels as somebody would choose them who may write into a watched table."""

SCRIPT = "<script>alert(1)</script>"
IMAGE = '"><img src=x onerror=alert(2)>'
TEMPLATE = "{{7*7}}{% raw %}"
SCHEME = "javascript:alert(3)"
SLASHES = "a/b/../c?d=e&f#g%2F+ h"
ATTRIBUTE = "' onmouseover='alert(4)"
CLOSING = "</title></svg></script>]]>-->"
RIGHT_TO_LEFT = "\u202eevil\u2066 \u0645\u0631\u062d\u0628\u0627 \U0001f9e8"
LINES = "one\r\ntwo\ttab\x1b[31m"
LONG = "x" * 10_000

NAMES = (SCRIPT, IMAGE, TEMPLATE, SCHEME, SLASHES, ATTRIBUTE, CLOSING, RIGHT_TO_LEFT, LINES, LONG)
