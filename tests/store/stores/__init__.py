"""Stores that commit 7e1daeb filled, and what it read in them: what every later schema is migrated from.

sqlite.db.gz        a SQLite store as a file
postgresql.sql.gz   the same story in PostgreSQL, as plain SQL (for psql, or any client that sends it as it is)
*.json.gz           what the five views, the command line and the API of 7e1daeb gave for each of them
drift.yaml          the configuration both ended with
make.py             how they were made; it runs on 7e1daeb only, see there
rows.py, asking.py  the source, and the questions; the test uses them, too
"""
