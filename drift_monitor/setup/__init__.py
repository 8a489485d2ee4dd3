"""The first minutes with a table: what it holds, a configuration for it, and whether one fits its database."""
