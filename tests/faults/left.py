"""What a walk that failed leaves for whoever looks into it: the catalog's tables, the model, what the store holds."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from psycopg import sql

from tests.faults.changing import ChangingWorld

_TABLES = "SELECT relname FROM pg_class WHERE relnamespace = 'glacier_catalog'::regnamespace AND relkind = 'r'"
_KNOWN = (
    "quiet",
    "back",
    "others",
    "fallen",
    "ghosts",
    "unjournalled",
    "stray_staging",
    "over",
    "unreadable",
    "hidden",
)


def leave(world: ChangingWorld, directory: Path, deeds: list[str]) -> None:
    """Write a file of JSON lines for each table, and `model.txt`, with the deeds up to the one that failed."""
    directory.mkdir(parents=True, exist_ok=True)
    with suppress(Exception), world.catalog_server.connect(autocommit=True) as connection:  # what failed is told anyhow
        for (table,) in connection.execute(_TABLES).fetchall():
            query = sql.SQL("SELECT row_to_json(t)::text FROM {} t").format(sql.Identifier("glacier_catalog", table))
            rows = connection.execute(query).fetchall()
            (directory / f"{table}.jsonl").write_text("".join(f"{row}\n" for (row,) in rows), encoding="utf-8")
    lines = [*deeds, *(f"{name}: {getattr(world, name)}" for name in _KNOWN)]
    lines += [f"backup {number}: {sorted(files)}, rows {rows}" for number, (files, rows) in world.backups.items()]
    lines += [
        f"dump {key}: {sorted(one.files)}, manifests {one.manifests}, deleted: {one.deleted}"
        for key, one in world.ever.items()
    ]
    lines += [str(one) for one in world.place.held()]
    (directory / "model.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
