"""Requests with the patience of a busy machine: the client's own is five seconds."""

from functools import partial

import httpx

from tests.web.serving import PATIENCE_SECONDS

get = partial(httpx.get, timeout=PATIENCE_SECONDS)
post = partial(httpx.post, timeout=PATIENCE_SECONDS)
request = partial(httpx.request, timeout=PATIENCE_SECONDS)
