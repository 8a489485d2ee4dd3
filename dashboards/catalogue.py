"""All dashboards by the name of their file."""

import json
from collections.abc import Callable, Mapping

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards import feature, overview, service

DASHBOARDS: Mapping[str, Callable[[], Dashboard]] = {
    "drift-overview": overview.make,
    "drift-feature": feature.make,
    "drift-service": service.make,
}


def as_json(made: Dashboard) -> str:
    """As it is committed: sorted, indented, one newline at the end."""
    return json.dumps(made, cls=JSONEncoder, sort_keys=True, indent=2, ensure_ascii=False) + "\n"
