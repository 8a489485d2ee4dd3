"""The demo: tables with known drift, made on this machine, and the configuration of the monitors that watch them.

Everything here is data that any user could have: rows in a SQLite file, read through the same commands as any other
database. Nothing is computed in advance, and no other room knows of this one.
"""
