"""The pictures of alerts in the documentation, drawn from a real evaluation. Written by `python -m pictures`."""
