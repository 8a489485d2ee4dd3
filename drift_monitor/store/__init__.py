"""The service's own history, on SQLite or PostgreSQL: the only room that writes a database.

Every function takes the connection of a transaction that `connection.Store` opened; nothing here commits. What
belongs together (a run's end, its panes, measurements, alerts, episodes and notifications) is written by the caller
in one `Store.transact`. Errors leave this room as `StoreError`, never as SQLAlchemy's.
"""
