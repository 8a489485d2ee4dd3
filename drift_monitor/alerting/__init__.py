"""Alerting: rules over measurements, episodes, dispatch, silences, repeats, and the delivery of notifications."""
