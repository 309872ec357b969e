"""A dump of a server that was taken over: a line break and a command of psql in every name and comment it has."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest

from glacier_provider.errors import GlacierProviderError
from glacier_provider.postgres import OnError, PgRestoreOptions, restore_by_swap, table_of_contents
from glacier_provider.postgres.restore.rehearsal import rehearse_schema
from tests.integration.postgres.conftest import OLDEST, SampleServer
from tests.integration.postgres.test_every_kind import OWNERS, SUPERUSERS, filled
from tests.integration.postgres.test_what_stays import SUPERUSER, Library
from tests.support.postgres import quoted

pytestmark = pytest.mark.slow

#: What others are made with is refused after these.
LAST = ("privileges on columns", "event triggers", "a refusing event trigger")
KINDS = dict(sorted((OWNERS | SUPERUSERS).items(), key=lambda kind: LAST.index(kind[0]) if kind[0] in LAST else -1))

#: What has numbers, settings or names of the system alone; its comment is an attack all the same.
NAMELESS = {"ENCODING", "STDSTRINGS", "SEARCHPATH", "DATABASE", "BLOB", "BLOBS", "BLOB METADATA", "TRANSFORM"}

#: Every name of an object of the database, whatever SQL would say of it, becomes `{name}` and a number.
RENAMED = r"""
DO $$ DECLARE r record; BEGIN
  FOR r IN
    SELECT c.oid::regclass AS catalog, a.attname, id.attname AS id
      FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.atttypid = 'name'::regtype AND a.attnum > 0
      JOIN pg_attribute id ON id.attrelid = c.oid AND id.attname = CASE c.relname WHEN 'pg_attribute' THEN 'attrelid'
                                                                               ELSE 'oid' END
     WHERE c.relnamespace = 'pg_catalog'::regnamespace AND c.relkind = 'r' AND NOT c.relisshared
       AND c.oid <> 'pg_collation'::regclass
  LOOP
    EXECUTE format(
      'UPDATE %s SET %I = left({name} || %s, 63)::name WHERE %I >= 16384 AND strpos(%I, {name}) = 0 %s',
      r.catalog, r.attname, CASE WHEN r.id = 'oid' THEN 'oid' ELSE 'attnum' END, r.id, r.attname,
      CASE r.catalog::text
        WHEN 'pg_attribute' THEN 'AND attnum > 0 AND NOT attisdropped '
                                 'AND attrelid NOT IN (SELECT seqrelid FROM pg_sequence)'
        WHEN 'pg_rewrite' THEN 'AND rulename <> ''_RETURN''' ELSE '' END);
  END LOOP;
  FOR r IN
    SELECT c.oid::regclass AS catalog FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'oid'
     WHERE c.relnamespace = 'pg_catalog'::regnamespace AND c.relkind = 'r' AND NOT c.relisshared AND a.attnum > 0
  LOOP
    EXECUTE format('INSERT INTO pg_description SELECT oid, tableoid, 0, {text} FROM %s AS o WHERE oid >= 16384 AND '
      'NOT EXISTS (SELECT FROM pg_description WHERE objoid = o.oid AND classoid = o.tableoid AND objsubid = 0)',
      r.catalog);
    EXECUTE format('INSERT INTO pg_seclabel SELECT oid, tableoid, 0, {text}, {text} FROM %s AS o WHERE oid >= 16384 '
      'AND NOT EXISTS (SELECT FROM pg_seclabel WHERE objoid = o.oid AND classoid = o.tableoid)', r.catalog);
  END LOOP;
  UPDATE pg_collation SET collname = left({name} || oid, 63)::name, collversion = NULL
   WHERE oid >= 16384 AND strpos(collname, {name}) = 0;
  UPDATE pg_description SET description = {text} WHERE objoid >= 16384;
  UPDATE pg_foreign_server SET srvtype = {text}, srvversion = {text}, srvoptions = ARRAY['h=' || {text}];
  UPDATE pg_foreign_data_wrapper SET fdwoptions = ARRAY['h=' || {text}];
  UPDATE pg_foreign_table SET ftoptions = ARRAY['h=' || {text}];
  UPDATE pg_user_mapping SET umoptions = ARRAY['h=' || {text}];
  UPDATE pg_attribute SET attfdwoptions = ARRAY['h=' || {text}] WHERE attfdwoptions IS NOT NULL;
  UPDATE pg_ts_dict SET dictinitoption = {text} WHERE oid >= 16384;
  UPDATE pg_proc SET proargnames = ARRAY(SELECT {text} FROM unnest(proargnames)) WHERE oid >= 16384
     AND proargnames IS NOT NULL;
  UPDATE pg_proc SET prosrc = {text} WHERE oid >= 16384 AND prolang NOT IN (12, 13);
END $$
"""


class Hostile(Library):
    """A database of whose names and texts each is an attack; `mark` is the file that a command would make."""

    def __init__(self, sample: SampleServer, place: Path) -> None:
        super().__init__(sample, place)
        self.mark = Path(tempfile.gettempdir()) / f"g{os.getpid()}"  # short: a name has 63 bytes
        self.name = f"x\n\\! touch {self.mark}\n"
        self.text = f"{self.name}\\unrestrict k\n`touch {self.mark}`\n"
        self.hostile_roles: list[str] = []

    def make_role(self, name: str) -> None:
        """Instead of an ordinary name it has one that is an attack, too."""
        if name not in self.hostile_roles:
            self.hostile_roles.append(name)
            super().make_role(name)

    def attack(self) -> None:
        """Give everything that was made since names and texts that are attacks."""
        statement = RENAMED
        for what, value in (("{name}", self.name), ("{text}", self.text)):
            once, twice = value.replace("'", "''"), value.replace("'", "''''")
            assert once == twice  # no quote to be doubled
            statement = statement.replace(what, "$q$" + value + "$q$")
        with self.postgres.connect(autocommit=True) as connection:
            connection.execute("SET allow_system_table_mods = on")
            connection.execute(statement.encode())


@pytest.fixture(scope="module", params=["oldest" if OLDEST else "older", "newer"])
def hostile(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Hostile:
    made = Hostile(request.getfixturevalue(request.param), tmp_path_factory.mktemp("hostile"))
    for kind, statements in KINDS.items():
        by = "owner" if kind in OWNERS else SUPERUSER
        made.run(filled(made, statements), by=by)
        made.attack()
    for role in made.hostile_roles:
        made.run(f"ALTER ROLE {role} RENAME TO {quoted(made.name + role[-9:])}", by=SUPERUSER)
    return made


def test_every_class_of_objects_has_a_hostile_name_or_comment(hostile: Hostile) -> None:
    toc = table_of_contents(hostile.dump())
    of_attacks = {entry.desc for entry in toc.entries if "touch" in entry.name or "touch" in entry.definition}
    every = {entry.desc for entry in toc.entries}
    assert every - of_attacks <= NAMELESS
    assert len(of_attacks) > 35


def test_no_name_or_text_of_a_dump_is_run_by_the_rehearsal_or_by_any_restore(hostile: Hostile) -> None:
    """What cannot be restored under such a name fails; everything is sent to the server all the same."""
    dump = hostile.dump()
    rehearse_schema(hostile.postgres, table_of_contents(dump), PgRestoreOptions(), tell=lambda: None)
    with suppress(GlacierProviderError):
        hostile.restore(dump, SUPERUSER)
    with suppress(GlacierProviderError):
        hostile.restore(dump, SUPERUSER, into=hostile.empty())
    with suppress(GlacierProviderError):
        restore_by_swap(
            hostile.postgres,
            hostile.tools,
            dump,
            PgRestoreOptions(),
            mark="restore_1_1",
            jobs=2,
            on_error=OnError.LIST,
            progress=print,
        )
    assert not hostile.mark.exists()
