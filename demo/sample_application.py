"""An application that looks like a real one: a document-management database and its directory of attached files.

`create` makes it, the same each time; `change` lets a day pass; `fingerprint` tells what it consists of now, and
`differences` compares two of these.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, LiteralString

if TYPE_CHECKING:
    import psycopg

    from glacier_provider.postgres import Server

SQL = Path(__file__).with_name("sql")
ROLES = ("dms_reader", "dms_editor")  # may not log in; the application's grants name them
FILES = 2000
LARGE_FILE_BYTES = 100_000_000
ADDED_FILES = 40
MIB = 1024 * 1024

#: Names that a careless program trips over; each is a real file of the sample.
AWKWARD_NAMES = (
    "-rf",
    "--help",
    "- minus first.pdf",
    " leading and trailing ",
    "two  spaces.pdf",
    "Übersicht für Müller.pdf",
    "u\u0308 decomposed.txt",
    "請求書 2026年.pdf",
    "عقد.pdf",
    "🧾 receipt.png",
    'it\'s "quoted".txt',
    "back\\slash.txt",
    "100% #1 a+b&c=d?.txt",
    "%41%2F.txt",
    "semi;colon|pipe$HOME`id`.txt",
    "tab\there.txt",
    ".hidden",
    "..two-dots",
    "CON",
    "UPPER.TXT",
    "upper.txt",
    "long " + "name " * 40 + ".txt",
)


@dataclass(frozen=True, slots=True)
class AttachedFile:
    """One file of the sample: its path below the attached-files directory, and its size in bytes."""

    position: int
    path: str
    size: int


@dataclass(frozen=True, slots=True)
class Change:
    """What a day changed in the directory: paths and bytes."""

    added: tuple[str, ...]
    added_bytes: int
    deleted: tuple[str, ...]
    deleted_bytes: int


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What an application consists of: for each thing by name ("rows of public.users", "file a/b.pdf") its content.

    Equal mappings mean equal applications. `rows`, `files` and `bytes` are counts to print.
    """

    things: Mapping[str, str]
    rows: int
    files: int
    bytes: int


def create(server: Server, files_directory: Path) -> None:
    """Fill an empty database, as its owner, and a directory that need not exist; deterministic.

    The roles of `ROLES` exist already.
    """
    files = attached_files()
    write_files(files_directory, files)
    create_database(server, files)


def create_database(server: Server, files: Sequence[AttachedFile]) -> None:
    """Create the schema and its rows, in one transaction."""
    with server.connect() as connection:
        _settle(connection)
        _run(connection, "schema")
        _hand_over(connection, "attached_files", files)
        _run(connection, "rows")
    with server.connect(autocommit=True) as connection:
        connection.execute("ANALYZE")


def change(server: Server, files_directory: Path) -> Change:
    """Let a day pass: rows, schema and files change, as the database's owner."""
    files = attached_files()
    deleted = [*files[:4], files[39], *files[100::80], files[-1]]  # awkward names, an empty file, the large one
    added = [AttachedFile(FILES + i, f"2026/12/added {i:02}.bin", 2000 + i * 997) for i in range(1, ADDED_FILES + 1)]
    write_files(files_directory, added)
    with server.connect() as connection:
        _settle(connection)
        _hand_over(connection, "added_files", added)
        _hand_over(connection, "deleted_files", deleted)
        _run(connection, "change")
    for file in deleted:
        _remove(files_directory, file.path)
    return Change(*_names_and_bytes(added), *_names_and_bytes(deleted))


def _names_and_bytes(files: Sequence[AttachedFile]) -> tuple[tuple[str, ...], int]:
    return tuple(file.path for file in files), sum(file.size for file in files)


def attached_files() -> list[AttachedFile]:
    """Return the sample's files: 2,000, about 180 MB, one of them 100 MB, in nested directories."""
    return [AttachedFile(i, _path(i), _size(i)) for i in range(1, FILES + 1)]


def write_files(directory: Path, files: Sequence[AttachedFile]) -> None:
    """Write files whose content depends on their position and size alone."""
    for parent in sorted({Path(file.path).parent for file in files}):
        (directory / parent).mkdir(parents=True, exist_ok=True)
    for file in files:
        with (directory / file.path).open("wb") as out:
            out.writelines(_content(file))


def fingerprint(server: Server, files_directory: Path) -> Fingerprint:
    """Return what the application consists of: every table's rows, sequences, schema objects, and every file."""
    things: dict[str, str] = {}
    rows = 0
    with server.connect() as connection:
        _settle(connection)
        for schema, table in _read(connection, "tables"):
            count, content = _table_content(connection, schema, table)
            things[f"rows of {schema}.{table}"] = f"{count} rows, {content}"
            rows += count
        for kind in ("objects", "sequences", "large_objects"):
            things.update(_read(connection, kind))
    files = {path: path.stat().st_size for path in files_directory.rglob("*") if path.is_file()}
    with ThreadPoolExecutor(2) as pool:
        hashes = zip(files, pool.map(_hash, files), strict=True)
        things.update((f"file {path.relative_to(files_directory)}", digest) for path, digest in hashes)
    return Fingerprint(things, rows, len(files), sum(files.values()))


def differences(before: Fingerprint, after: Fingerprint) -> list[str]:
    """Return a sentence for each thing that is missing, new or different, in order of name."""
    lines = []
    for name in sorted({*before.things, *after.things}):
        was, now = before.things.get(name), after.things.get(name)
        if now is None:
            lines.append(f"{name} is missing")
        elif was is None:
            lines.append(f"{name} is new")
        elif was != now:
            lines.append(f"{name} differs: was {_short(was)}, is {_short(now)}")
    return lines


def _path(i: int) -> str:
    folder = f"2026/{1 + i % 12:02}/{('contracts', 'invoices', 'scans', 'mail in')[i % 4]}/{i % 7}"
    if i == FILES:
        return "videos/annual meeting.mp4"
    if i <= len(AWKWARD_NAMES):
        return f"awkward/{AWKWARD_NAMES[i - 1]}"
    if i % 50 == 0:
        return f"a/b/c/d/e/f/g/h/{i % 3}/deep {i:04}.tif"
    return f"{folder}/document {i:04}.pdf" if i % 3 else f"{folder}/{i:04}-seite-ä.txt"


def _size(i: int) -> int:
    """Return bytes: one very large, some empty, a few of readable_size, most of some kilobytes."""
    if i == FILES:
        return LARGE_FILE_BYTES
    if i % 40 == 0:
        return 0
    if i % 97 == 0:
        return MIB + i * 391
    return 50 + (i * i * 31) % 40_000 if i % 5 else 1 + i % 300


def _content(file: AttachedFile) -> Iterator[bytes]:
    """Yield a file's bytes: text for a third of the files, else what does not compress."""
    source = random.Random(file.position)
    left = file.size
    while left:
        size = min(left, MIB)
        if file.path.endswith(".txt"):
            line = f"{file.position}: {source.getrandbits(32)} what is written here can be compressed\n".encode()
            yield (line * (size // len(line) + 1))[:size]
        else:
            yield source.randbytes(size)
        left -= size


def _remove(directory: Path, path: str) -> None:
    (directory / path).unlink()
    with suppress(OSError):  # not empty yet
        (directory / path).parent.rmdir()


def _settle(connection: psycopg.Connection[Any]) -> None:
    """Make text forms depend on the data alone."""
    for setting, value in (
        ("TimeZone", "UTC"),
        ("DateStyle", "ISO, YMD"),
        ("IntervalStyle", "iso_8601"),
        ("bytea_output", "hex"),
        ("extra_float_digits", "1"),
        ("search_path", "public"),
    ):
        connection.execute("SELECT set_config(%s, %s, false)", (setting, value))


def _run(connection: psycopg.Connection[Any], name: str) -> None:
    connection.execute(_sql(name))


def _read(connection: psycopg.Connection[Any], name: str) -> list[Any]:
    return connection.execute(_sql(name)).fetchall()


def _sql(name: str) -> bytes:
    return (SQL / f"{name}.sql").read_bytes()


def _hand_over(connection: psycopg.Connection[Any], table: LiteralString, files: Iterable[AttachedFile]) -> None:
    """Tell the database about files, in a temporary table that ends with the transaction."""
    from psycopg import sql

    named = sql.Identifier(table)
    columns = sql.SQL("(position integer, file_name text, byte_size bigint) ON COMMIT DROP")
    connection.execute(sql.SQL("CREATE TEMPORARY TABLE {} {}").format(named, columns))
    with connection.cursor() as cursor, cursor.copy(sql.SQL("COPY {} FROM STDIN").format(named)) as copy:
        for file in files:
            copy.write_row((file.position, file.path, file.size))


def _table_content(connection: psycopg.Connection[Any], schema: str, table: str) -> tuple[int, str]:
    """Return a table's number of rows and a hash of them that does not depend on their order."""
    from psycopg import sql

    query = sql.SQL(
        "SELECT count(*), concat_ws('/', sum(('x' || left(md5(r::text), 16))::bit(64)::bigint::numeric),"
        " sum(('x' || right(md5(r::text), 16))::bit(64)::bigint::numeric)) FROM {} AS r"
    )
    row = connection.execute(query.format(sql.Identifier(schema, table))).fetchone()
    if row is None:
        raise RuntimeError(f"no answer for {schema}.{table}")
    return row[0], row[1]


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return f"{path.stat().st_size} bytes, SHA-256 {hashlib.file_digest(file, 'sha256').hexdigest()}"


def _short(text: str, length: int = 160) -> str:
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 1] + "…"
