"""Secrets taken out of text: the second net below types that don't print their value.

`Redactor` knows the secret values of the running configuration and the shapes credentials have in URLs and connection
strings. It is applied to every field of every log line. It is not a licence to log secrets.
"""

import re
from collections.abc import Iterable
from urllib.parse import quote, unquote, urlsplit

SECRET = "<secret>"  # noqa: S105 - what is shown in place of one
# Shorter values would blank out ordinary words.
MIN_SECRET_LENGTH = 5

_USERINFO = re.compile(r"(?<=://)[^\s/@'\"]*:[^\s/'\"]*@")
_ASSIGNMENT = re.compile(
    r"(?i)\b(password|passwd|pwd|secret|token|api[_-]?key|routing[_-]?key)(\"?'?\s*[=:]\s*)(\"[^\"]*\"|'[^']*'|[^\s,;&]+)"
)
_AUTHORIZATION = re.compile(r"(?i)\b(basic|bearer)\s+[A-Za-z0-9._~+/=-]{8,}")


class Redactor:
    """Replaces known secret values and credential shapes; safe to share between threads."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._pattern: re.Pattern[str] | None = None
        self.learn(secrets)

    def learn(self, secrets: Iterable[str]) -> None:
        """Replace the known values, also in their percent-encoded forms (at start and after each reload)."""
        forms = {form for secret in secrets for form in _forms(secret)}
        longest_first = sorted(forms, key=lambda form: (-len(form), form))
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if forms else None

    def redact(self, text: str) -> str:
        if self._pattern is not None:
            text = self._pattern.sub(SECRET, text)
        text = _USERINFO.sub(f"{SECRET}@", text)
        text = _ASSIGNMENT.sub(rf"\1\2{SECRET}", text)
        return _AUTHORIZATION.sub(rf"\1 {SECRET}", text)


def _forms(secret: str) -> set[str]:
    forms = {secret, quote(secret, safe=""), quote(secret), unquote(secret)}
    return {form for form in forms if len(form) >= MIN_SECRET_LENGTH}


def origin(url: str) -> str:
    """`scheme://host[:port]` of a URL: all that may be shown, since path, query and user can be the credential."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return SECRET
    if not parts.scheme or not host:
        return SECRET
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}" + (f":{port}" if port is not None else "")
