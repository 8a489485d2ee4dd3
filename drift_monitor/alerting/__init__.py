"""Alerts: judged, told, repeated, silenced, and shown as documents."""
