"""Dumps that are verified before they count: `pg_dump` makes one in staging, `stream` one in a pipe.

`snapshot` is what both see of the database; `follow` reads a directory through while it is made, `disk` a dump that is
whole. Pure: `toc`, what a dump holds.
"""
