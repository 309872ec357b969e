"""T8: a database of 1 GiB restored beside the old one and swapped, against `pg_restore -j2` of the same file alone."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench import data
from bench.child import measured, python
from bench.harness import BenchFailed, Case, Contender, Target
from bench.peers import pg_dump, pg_restore
from bench.workshop import GIB, Workshop

_FUNCTION = "bench.cases.t08_restore_database:restore"
OURS, PEER = "glacier_provider, swap, 2 jobs", "pg_restore -j2"
TARGET_DATABASE, PEER_DATABASE = "swapped", "restored"


@contextmanager
def restores(workshop: Workshop) -> Iterator[Sequence[Contender]]:
    size = workshop.scaled(GIB, least=16 * 1024 * 1024)
    database = workshop.opened(f"database-{size}", lambda path: data.database(path, size))
    postgres, tools = database.postgres, database.postgres.bin_directory
    dump = workshop.scratch("t08") / "application.dump"
    made = pg_dump("", tools / "pg_dump", database.server, "-Fc", "-Z", "zstd:3", "-f", str(dump))
    subprocess.run(made.argv, env={**os.environ, **made.env}, check=True)
    postgres.create_database(TARGET_DATABASE)

    def clear() -> None:
        """Drop what an earlier sample restored, and what it replaced: each sample begins with an empty database."""
        names = [str(name) for (name,) in postgres.execute("SELECT datname FROM pg_database")]
        for name in names:
            if name.startswith((f"{TARGET_DATABASE}_", PEER_DATABASE)):
                postgres.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
        postgres.execute(f'CREATE DATABASE "{PEER_DATABASE}"')
        postgres.execute("CHECKPOINT")

    server = database.server
    told = {"server": json.dumps([server.host, server.port, server.user, server.password]), "tools": str(tools)}
    target = server.with_database(PEER_DATABASE)
    with workshop.counted(postgres):
        yield [
            python(OURS, _FUNCTION, arguments={**told, "dump": str(dump)}, before=clear),
            pg_restore(PEER, tools / "pg_restore", target, "-j2", str(dump), before=clear),
        ]


def restore(server: str, tools: str, dump: str) -> Mapping[str, float]:
    """Restore the dump as the task restore_database does with the mode `swap`, statistics and swap included."""
    from glacier_provider.postgres import RestoreOptions, Server, find_tools, swap_database

    host, port, user, password = json.loads(server)
    target = Server(host, port, user, password, TARGET_DATABASE)
    found = find_tools(Path(tools))
    mark = f"bench_{secrets.token_hex(4)}"
    with measured():
        restored = swap_database(
            target, found, Path(dump), RestoreOptions(), mark=mark, jobs=2, progress=lambda _line: None
        )
    if not restored.restored:
        raise BenchFailed("nothing is restored")
    return {"entries": restored.restored}


CASES = (
    Case(
        "t08",
        "1 GiB database restored from a local file",
        restores,
        (Target("T8, against pg_restore -j2", OURS, PEER, 1.05, measure="inside", peer_measure="wall"),),
    ),
)
