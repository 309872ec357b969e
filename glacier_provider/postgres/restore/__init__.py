"""Restores that happen whole or not at all: `plan` checks dump and target, then `transaction`, or `swap` beside.

`selection`, `sqltext` and `script` are the pure parts; `target` is the database that is restored into.
"""
