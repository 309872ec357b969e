"""Checks of a restored database: what a database is known by, taken in the dump's snapshot and after the restore.

`fingerprint` takes it, over any session; `meanwhile` beside pg_dump, in the exported snapshot; `restored` compares,
with `core/checks.py`, and asks the user's assertions.
"""
