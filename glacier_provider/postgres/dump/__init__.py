"""Dumps that are verified before they count: `pg_dump` into staging, `stream` through a pipe, `follow` reads along.

`toc` is what a dump holds, `dumpfile` a dump on disk.
"""
