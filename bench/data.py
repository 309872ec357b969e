"""What contenders work on: the same at every run, made once for all cases of it."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.harness import MIB
from glacier_provider.postgres import Server
from tests.support.postgres import EmbeddedPostgres

#: Files are as old as this: nobody is still writing them.
LONG_AGO = 1_700_000_000
SMALL = 20_000
LEAVES = 256
DONE = ".complete"  # beside the tree, not in it: it is no attached file


def small_files(directory: Path, count: int, *, size: int = SMALL) -> Path:
    """Make `count` files of incompressible bytes, 1,000 in a directory; return where."""
    if _is_there(directory):
        return directory
    chance = random.Random(count)
    for number in range(count):
        folder = directory / f"{number // 1000:04}"
        if number % 1000 == 0:
            folder.mkdir(parents=True)
        path = folder / small_name(number)
        path.write_bytes(chance.randbytes(size))
        os.utime(path, (LONG_AGO, LONG_AGO))
    age(directory)
    _done_file(directory).touch()
    return directory


def small_name(number: int) -> str:
    return f"document-{number:07}.pdf"


def flat_tree(directory: Path, count: int) -> Path:
    """Make `count` empty files in one directory; return where."""
    return _tree(directory, flat_names(count))


def hashed_tree(directory: Path, count: int, *, digits: int = 4) -> Path:
    """Make `count` empty files in 256 x 256 directories, as an application makes them that hashes names.

    With 3 `digits` of the hash, in 256 x 16: what a tenth of the files takes.
    """
    return _tree(directory, hashed_names(count, digits=digits))


def spread_tree(directory: Path, count: int, *, directories: int) -> Path:
    """Make `count` empty files, evenly in so many directories (two levels, 100 in the upper one); return where."""
    return _tree(directory, spread_names(count, directories=directories))


def spread_names(count: int, *, directories: int) -> Iterator[str]:
    """Yield the relative names of `spread_tree`, directory by directory."""
    wide = max(1, directories // 100)
    for number in range(count):
        folder = number * directories // count
        yield f"{folder // wide:03}/{folder % wide:05}/document-{number:08}.pdf"


def flat_names(count: int, *, first: int = 0) -> Iterator[str]:
    """Yield the relative names of `flat_tree`; those from `first` on."""
    for number in range(first, first + count):
        yield f"{_scattered(number):08x}-attached-document-{number:08}.pdf"


def hashed_names(count: int, *, first: int = 0, digits: int = 4) -> Iterator[str]:
    """Yield the relative names of `hashed_tree`; those from `first` on."""
    for number in range(first, first + count):
        hashed = f"{_scattered(number):08x}"
        yield f"{hashed[:2]}/{hashed[2:digits]}/{hashed}-document-{number:08}.pdf"


def _scattered(number: int) -> int:
    """Return 32 bits that look like a hash of the number; no two numbers below 2**32 share them."""
    mixed = (number * 0x9E3779B1) & 0xFFFFFFFF
    mixed ^= mixed >> 15
    return (mixed * 0x85EBCA77) & 0xFFFFFFFF


def _tree(directory: Path, names: Iterator[str]) -> Path:
    if _is_there(directory):
        return directory
    directory.mkdir(parents=True)
    made: set[str] = set()
    root = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for name in names:
            folder = name.rpartition("/")[0]
            if folder and folder not in made:
                os.makedirs(directory / folder, exist_ok=True)
                made |= {folder, folder.partition("/")[0]}
            os.mknod(name, 0o100644, dir_fd=root)
    finally:
        os.close(root)
    for each in [*made, ""]:
        os.utime(directory / each, (LONG_AGO, LONG_AGO))
    _done_file(directory).touch()
    return directory


def age(directory: Path) -> None:
    """Give every directory of a tree a modification time long past."""
    for folder, _, _ in os.walk(directory):
        os.utime(folder, (LONG_AGO, LONG_AGO))


def large_file(path: Path, size: int) -> Path:
    """Make a file of incompressible bytes; return where."""
    if path.exists() and path.stat().st_size == size:
        return path
    chance = random.Random(size)
    with path.open("wb") as file:
        left = size
        while left:
            left -= file.write(chance.randbytes(min(left, 16 * MIB)))
    os.utime(path, (LONG_AGO, LONG_AGO))
    return path


def _is_there(directory: Path) -> bool:
    return _done_file(directory).exists()


def _done_file(directory: Path) -> Path:
    return directory.with_name(directory.name + DONE)


# --- a database ----------------------------------------------------------------------------------------------------

#: About 900 bytes a document with its movements and indexes, of text, JSON and numbers that compress as others do.
DATABASE = """
CREATE TABLE people (
    id integer PRIMARY KEY, name text NOT NULL, mail text NOT NULL UNIQUE, joined date NOT NULL
);
CREATE TABLE documents (
    id bigint PRIMARY KEY,
    owner integer NOT NULL,
    title text NOT NULL,
    body text NOT NULL,
    facts jsonb NOT NULL,
    changed timestamptz NOT NULL,
    file text NOT NULL
);
CREATE TABLE movements (
    id bigint PRIMARY KEY, document bigint NOT NULL, amount numeric(12,2) NOT NULL, note text, at timestamptz NOT NULL
);
INSERT INTO people
SELECT n, 'Person ' || md5(n::text), 'person' || n || '@example.org', date '2020-01-01' + n % 2000
  FROM generate_series(1, {people}) AS n;
INSERT INTO documents
SELECT n, 1 + n % {people}, 'Document ' || n || ' of ' || left(md5((n % 977)::text), 12),
       repeat('Paragraph ' || n % 613 || ' says what the one before it said. ', 2)
         || md5(n::text) || md5((n * 7)::text),
       jsonb_build_object('kind', (ARRAY['letter', 'invoice', 'order'])[1 + n % 3], 'pages', n % 90,
                          'tags', jsonb_build_array('t' || n % 31, 't' || n % 17), 'sum', md5((n * 3)::text)),
       timestamptz '2024-01-01 00:00:00+00' + n * interval '7 seconds',
       left(md5(n::text), 2) || '/' || n || '.pdf'
  FROM generate_series(1, {documents}) AS n;
INSERT INTO movements
SELECT n, 1 + n * 7 % {documents}, (n % 100000) / 100.0, CASE WHEN n % 3 = 0 THEN 'note ' || md5(n::text) END,
       timestamptz '2024-01-01 00:00:00+00' + n * interval '3 seconds'
  FROM generate_series(1, {movements}) AS n;
CREATE UNIQUE INDEX documents_file ON documents (file);
CREATE INDEX documents_owner ON documents (owner, changed);
CREATE INDEX documents_title ON documents (title);
CREATE INDEX documents_facts ON documents USING gin (facts jsonb_path_ops);
CREATE INDEX movements_document ON movements (document, at);
CREATE INDEX movements_at ON movements (at);
ALTER TABLE documents ADD FOREIGN KEY (owner) REFERENCES people;
ALTER TABLE movements ADD FOREIGN KEY (document) REFERENCES documents;
"""

#: As a small server in production, but for durability: the data is made for this run alone.
SETTINGS = {"shared_buffers": "256MB", "max_wal_size": "2GB", "maintenance_work_mem": "128MB", "max_connections": "100"}


@dataclass(frozen=True, slots=True)
class Database:
    """A running server with a filled database. Its process ids are `postgres.pid`'s tree."""

    postgres: EmbeddedPostgres
    server: Server
    size: int


def address(server: Server) -> dict[str, Any]:
    """Return the arguments of `Server` as JSON takes them."""
    return {name: getattr(server, name) for name in ("host", "port", "user", "password", "dbname")}


@contextmanager
def database(directory: Path, size: int) -> Iterator[Database]:
    """Start a server in `directory` with a database of about `size` bytes, indexes included."""
    with EmbeddedPostgres(directory, settings=SETTINGS) as postgres:
        server = postgres.create_database("application")
        fill(postgres, server.dbname, size)
        told = postgres.execute("SELECT pg_database_size('application')")[0][0]
        yield Database(postgres, server, int(told))


def fill(postgres: EmbeddedPostgres, dbname: str, size: int) -> None:
    """Fill a database to about `size` bytes."""
    documents = max(1000, size // 907)
    rows = {"people": max(100, documents // 20), "documents": documents, "movements": documents * 2}
    for statement in DATABASE.format(**rows).split(";\n"):
        if statement.strip():
            postgres.execute(statement, dbname)
    postgres.execute("VACUUM ANALYZE", dbname)
    postgres.execute("CHECKPOINT", dbname)
