"""Charts as pure functions."""
