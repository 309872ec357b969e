"""The command lines of PostgreSQL's client tools; pure, no password in any of them.

Paths travel in ``--option=value`` form or absolute, so that a name beginning with ``-`` stays a name.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from glacier_provider.postgres.tools.find import Tools
from glacier_provider.postgres.tools.options import DumpFormat, Keep, PgDumpOptions, PgRestoreOptions
from glacier_provider.postgres.tools.session import KEEPALIVES
from glacier_provider.postgres.tools.sql import quoted


def pg_dump(
    tools: Tools,
    options: PgDumpOptions,
    *,
    database: str,
    target: Path | None,
    compression: str,
    snapshot: str | None = None,
) -> tuple[str, ...]:
    """Dump a database of the server named by the environment into `target`, or to stdout, as `snapshot` sees it."""
    argv = [tools.path("pg_dump"), f"--dbname={conninfo(database)}", f"--format={options.format.value}"]
    argv += [f"--file={target}"] if target is not None else []
    argv += _compress(tools, compression)
    argv += [f"--snapshot={snapshot}"] if snapshot else []
    argv += [f"--jobs={options.jobs}"] if options.format is DumpFormat.DIRECTORY and options.jobs > 1 else []
    argv += ["--no-password", f"--lock-wait-timeout={round(options.lock_timeout_seconds * 1000)}", "--verbose"]
    argv += [f"--exclude-schema={exactly(name)}" for name in options.exclude_schemas]
    argv += [f"--exclude-table={exactly(*name)}" for name in options.exclude_tables]
    argv += [f"--exclude-table-data={exactly(*name)}" for name in options.exclude_table_data]
    return tuple(argv)


def pg_dump_relations(
    tools: Tools, relations: Iterable[tuple[str, str]], *, database: str, target: Path
) -> tuple[str, ...]:
    """Dump some relations into a file, as they are when the command reads them."""
    argv = [tools.path("pg_dump"), f"--dbname={conninfo(database)}", "--format=custom", f"--file={target}"]
    argv += ["--compress=0", "--no-password", "--lock-wait-timeout=10000"]
    return (*argv, *(f"--table={exactly(*name)}" for name in relations))


def pg_restore_read_through(tools: Tools, dump: Path | None) -> tuple[str, ...]:
    """Read every byte of a dump, or of stdin, and write nothing."""
    return (tools.path("pg_restore"), "--file=/dev/null", *([_operand(dump)] if dump is not None else []))


def pg_restore_data(tools: Tools, dump: Path) -> tuple[str, ...]:
    """Print the data of a dump, without definitions, to stdout."""
    return (tools.path("pg_restore"), "--data-only", "--file=-", _operand(dump))


def pg_restore_list(tools: Tools, dump: Path) -> tuple[str, ...]:
    """Print the table of contents to stdout."""
    return (tools.path("pg_restore"), "--list", _operand(dump))


def pg_restore_rows(tools: Tools, *, dump: Path, entries: Path) -> tuple[str, ...]:
    """Print, to stdout, the rows and large objects of the entries listed in a file, in the list's order."""
    return (tools.path("pg_restore"), "--data-only", "--file=-", f"--use-list={entries}", _operand(dump))


def pg_restore_into(
    tools: Tools,
    options: PgRestoreOptions,
    *,
    dump: Path,
    database: str,
    jobs: int,
    entries: Path,
    lenient: bool = False,
) -> tuple[str, ...]:
    """Restore the entries listed in a file into a database with several connections.

    Stop at the first error; or, `lenient`, go on after it.
    """
    argv = [tools.path("pg_restore"), f"--dbname={conninfo(database)}", f"--jobs={jobs}", f"--use-list={entries}"]
    argv += [] if lenient else ["--exit-on-error"]
    argv += ["--no-password", "--verbose"]
    argv += ["--no-owner"] if options.owner is Keep.DROP else []
    argv += ["--no-privileges"] if options.privileges is Keep.DROP else []
    argv += ["--no-tablespaces"] if options.tablespaces is Keep.DROP else []
    return (*argv, _operand(dump))


def conninfo(database: str) -> str:
    """Return a connection string for a database of the server that the environment names.

    It keeps an idle connection alive, which no variable of libpq's can ask for.

    >>> conninfo("it's")
    "dbname='it\\\\'s' keepalives_idle=60 keepalives_interval=15 keepalives_count=6"
    """
    name = database.replace("\\", "\\\\").replace("'", "\\'")
    return " ".join([f"dbname='{name}'", *(f"{option}={value}" for option, value in KEEPALIVES.items())])


def exactly(*names: str) -> str:
    """Return a pattern of pg_dump that matches this identity alone: in double quotes nothing is a wildcard.

    >>> exactly("public", 'odd.*"name')
    '"public"."odd.*""name"'
    """
    return ".".join(quoted(name) for name in names)


def use_list(dump_ids: Iterable[int]) -> str:
    """Return the text of a list file for ``--use-list``: pg_restore reads the id at the start of each line."""
    return "".join(f"{dump_id};\n" for dump_id in dump_ids)


def _compress(tools: Tools, compression: str) -> list[str]:
    method, _, level = compression.partition(":")
    if method == "none":
        return ["--compress=0"]
    if tools.version.major >= 16:
        return [f"--compress={compression}"]
    return [f"--compress={level}"] if level else []


def _operand(path: Path) -> str:
    text = str(path)
    return text if text.startswith("/") else f"./{text}"
