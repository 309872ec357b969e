"""The regression database: made by PostgreSQL's own tests on a server of ours, and what is done to it later."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.postgres import EmbeddedPostgres

NAME = "regression"
#: As pg_regress sets them for a database that it makes itself.
_SETTINGS = {"lc_messages": "C", "lc_monetary": "C", "lc_numeric": "C", "lc_time": "C", "bytea_output": "hex"}
_NEEDED = ("data", "sql", "expected", "parallel_schedule", "resultmap", "pg_regress")

#: Much of everything is changed, taken away or added; what is refused is left.
CHANGES = r"""
DO $$ DECLARE r record; n int := 0; BEGIN
  FOR r IN SELECT c.oid, c.oid::regclass::text AS name, c.relkind FROM pg_class c
      WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
        AND c.relnamespace::regnamespace::text !~ '^(pg_|information_schema)'
      ORDER BY 1 LOOP
    n := n + 1;
    BEGIN
      IF n % 7 = 0 THEN
        EXECUTE format('DROP %s %s CASCADE', CASE r.relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW'
          WHEN 'f' THEN 'FOREIGN TABLE' WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, r.name);
      ELSIF r.relkind IN ('r', 'p') AND n % 3 = 0 THEN
        EXECUTE format('ALTER TABLE %s ADD COLUMN added_since int DEFAULT 3', r.name);
        EXECUTE format('GRANT ALL ON %s TO PUBLIC', r.name);
      ELSIF r.relkind = 'r' AND n % 3 = 1 THEN
        EXECUTE format('DELETE FROM %s', r.name);
      ELSE
        EXECUTE format('ALTER TABLE %s RENAME TO %I', r.name, 'renamed_' || n);
      END IF;
    EXCEPTION WHEN OTHERS THEN NULL;
    END;
  END LOOP;
  FOR r IN SELECT p.oid::regprocedure::text AS name FROM pg_proc p
      WHERE p.pronamespace::regnamespace::text !~ '^(pg_|information_schema)' ORDER BY p.oid LOOP
    n := n + 1;
    BEGIN
      IF n % 5 = 0 THEN EXECUTE format('DROP ROUTINE %s CASCADE', r.name);
      ELSIF n % 5 = 1 THEN EXECUTE format('ALTER ROUTINE %s RENAME TO %I', r.name, 'renamed_' || n);
      ELSE EXECUTE format('GRANT ALL ON ROUTINE %s TO PUBLIC', r.name);
      END IF;
    EXCEPTION WHEN OTHERS THEN NULL;
    END;
  END LOOP;
  FOR r IN SELECT nspname FROM pg_namespace WHERE nspname !~ '^(pg_|information_schema|public)' ORDER BY oid LOOP
    n := n + 1;
    BEGIN
      IF n % 2 = 0 THEN EXECUTE format('DROP SCHEMA %I CASCADE', r.nspname);
      ELSE EXECUTE format('ALTER SCHEMA %I RENAME TO %I', r.nspname, 'renamed_' || n);
      END IF;
    EXCEPTION WHEN OTHERS THEN NULL;
    END;
  END LOOP;
END $$;
CREATE SCHEMA made_since;
CREATE TABLE made_since.t (id serial PRIMARY KEY, body text);
CREATE VIEW made_since.v AS SELECT * FROM made_since.t;
CREATE TYPE made_since.e AS ENUM ('x');
CREATE FUNCTION public.made_since(made_since.e) RETURNS int LANGUAGE sql AS 'SELECT 1';
ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC;
SELECT lo_create(0);
"""


@contextmanager
def installed(tests: Path) -> Iterator[Path]:
    """Give a copy of the built tests that a server may read, for as long as its functions in C are called."""
    with tempfile.TemporaryDirectory(prefix="pg-corpus-") as name:
        place = Path(name)
        for each in _NEEDED:
            (shutil.copytree if (tests / each).is_dir() else shutil.copy2)(tests / each, place / each)
        for library in [*tests.glob("*.so"), *(tests.parents[2] / "contrib" / "spi").glob("*.so")]:
            shutil.copy2(library, place / library.name)
        for each in [place, *place.rglob("*")]:
            each.chmod(0o755 if each.is_dir() or each.suffix in (".so", "") else 0o644)
        results = place / "results"
        results.mkdir()
        results.chmod(0o777)  # the server, who is another user, writes there, too
        yield place


def fill(postgres: EmbeddedPostgres, place: Path) -> list[str]:
    """Make the database `NAME` by running the tests that are installed at `place`; return those that differ.

    That matters little: a locale, a limit or a user is another, and the objects are made all the same.
    """
    postgres.create_database(NAME)
    for name, value in _SETTINGS.items():
        postgres.execute(f"ALTER DATABASE {NAME} SET {name} = '{value}'")
    argv = [str(place / "pg_regress"), "--use-existing", f"--dbname={NAME}", "--host=127.0.0.1"]
    argv += [f"--port={postgres.port}", "--user=postgres", f"--bindir={postgres.bin_directory}", "--max-connections=8"]
    argv += [f"--{name}={place}" for name in ("inputdir", "outputdir", "dlpath")]
    argv += [f"--schedule={place / 'parallel_schedule'}"]
    environment = {**os.environ, "PGPASSWORD": postgres.password, "LC_ALL": "C"}
    done = subprocess.run(argv, env=environment, cwd=place, capture_output=True, text=True, check=False)
    if not any((place / "results").glob("*.out")):
        raise RuntimeError(f"pg_regress made nothing: {done.stdout[-500:]} {done.stderr[-500:]}")
    return re.findall(
        r"^(?:not ok \d+\s+[-+] |(?:test)?\s+)(\S+) .*(?:FAILED|\d+ ms)$", _failures(done.stdout), re.MULTILINE
    )


def _failures(told: str) -> str:
    return "\n".join(line for line in told.splitlines() if "FAILED" in line or line.startswith("not ok"))
