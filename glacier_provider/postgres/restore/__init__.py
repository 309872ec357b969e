"""Restores that happen whole or not at all: `plan` checks dump and target, then `transaction`, or `swap` beside.

`target` is the database that is restored into. Pure: `selection`, which entries of a dump are restored; `definitions`,
the names in the SQL of an entry; `script`, the SQL that runs.
"""
