"""The Grafana dashboards, written down in Python and generated as JSON.

`python -m dashboards` writes `config/grafana/dashboards/*.json`; a test checks that they are what this writes. Nothing
of the service imports this package.
"""
