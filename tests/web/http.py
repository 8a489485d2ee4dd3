"""Requests with the patience of a busy machine: the client's own is five seconds.

They go to plain HTTP: to read every known authority's certificate first would take most of a small test's time.
"""

from functools import partial

import httpx

from tests.web.serving import PATIENCE_SECONDS

_OURS = {"timeout": PATIENCE_SECONDS, "verify": False}

get = partial(httpx.get, **_OURS)
head = partial(httpx.head, **_OURS)
post = partial(httpx.post, **_OURS)
delete = partial(httpx.delete, **_OURS)
request = partial(httpx.request, **_OURS)
