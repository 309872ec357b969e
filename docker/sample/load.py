"""Make the sample application: its tables from library.sql, and one file for each row of `attachments`.

Does nothing when the tables are there already. The files' content follows from their names.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import psycopg

FILES = Path("/srv/library/uploads")


def main() -> None:
    # libpq takes the server and the password from PGHOST, PGUSER, PGDATABASE and PGPASSWORD.
    with psycopg.connect() as connection:
        if connection.execute("SELECT to_regclass('public.attachments')").fetchone() != (None,):
            print("The sample application is there already.")
            return
        connection.execute(Path(__file__).with_name("library.sql").read_bytes())
        rows = connection.execute("SELECT file, bytes FROM attachments").fetchall()
        for name, size in rows:
            write(FILES / name, content(name, size))
    print(f"The sample application has {len(rows)} attached files in {FILES}.")


def content(name: str, size: int) -> bytes:
    """Return `size` bytes that do not compress."""
    return hashlib.shake_256(name.encode()).digest(size)


def write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(data)
    os.replace(part, path)


if __name__ == "__main__":
    main()
