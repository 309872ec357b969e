"""Any database, dumped, changed and restored at random; and whether everything in it became what the plan said.

What is there is read from dumps of the whole database: no query of the product's own.
"""

from __future__ import annotations

import random
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from itertools import combinations, count
from pathlib import Path
from typing import Any

import psycopg

from glacier_provider.core.checks import CHECKS, GRANTS
from glacier_provider.errors import ChecksFailed, GlacierProviderError
from glacier_provider.postgres import (
    DatabasePlan,
    Exclusions,
    Keep,
    PgDumpOptions,
    PgRestoreOptions,
    Selection,
    Server,
    Tools,
    dump_to_path,
    find_tools,
    plan_database_restore,
    restore_by_swap,
    restore_planned,
    table_of_contents,
)
from glacier_provider.postgres.checks.fingerprint import over, take_fingerprint
from glacier_provider.postgres.checks.restored import DatabaseChecks, RestoreChecking
from glacier_provider.postgres.dump.toc import TocEntry
from glacier_provider.postgres.restore.selection import Contents, ObjectIdentity
from glacier_provider.postgres.tools.run import child_environment
from glacier_provider.postgres.tools.sql import unquoted
from tests.support.postgres import EmbeddedPostgres, quoted

HERE = Path(__file__).parent
PASSWORD = "any"
#: `friend` is a role as which the owner can act, `distant` one that it must SET ROLE to, `stranger` none of these.
ROLES = ("keeper", "friend", "distant", "stranger")
TABLES = ("public.docs", "app.audit", "app.notes", "public.sessions", "stats.days", "public.parts", "public.part1")
TABLES += ("stats.part2", "public.titles", "app.child", "public.numbers", "app.theirs", "public.counted")
TABLES += ("public.cpart1", "app.notes_copy", "public.counted_parts")
SCHEMAS = ("stats", "app", "alien", "friends")
Key = tuple[str, str | None, str]
_numbers = count()


@cache
def statements(part: str) -> tuple[tuple[str, str], ...]:
    """Return (by whom, statement) of a part of any_database.sql."""
    text = (HERE / "any_database.sql").read_text().partition(f"-- {part}\n")[2].partition("\n-- ")[0]
    lines = (line.partition(": ") for line in text.splitlines() if line.strip())
    return tuple((who, statement) for who, _, statement in lines)


@dataclass(frozen=True)
class Case:
    """What is made, dumped, changed and restored, and by whom; everything by its number in any_database.sql."""

    user: str
    mode: str
    made: tuple[int, ...]
    changed: tuple[int, ...]
    drops: bool = False  #: owners and privileges
    left_out: tuple[tuple[str, str], ...] = ()
    chosen: tuple[tuple[str, str], ...] = ()

    @property
    def exclusions(self) -> dict[str, Any]:
        return {
            "exclude_tables": tuple(pair(name) for kind, name in self.left_out if kind == "table"),
            "exclude_schemas": tuple(name for kind, name in self.left_out if kind == "schema"),
            "exclude_table_data": tuple(pair(name) for kind, name in self.left_out if kind == "rows"),
        }

    @property
    def selection(self) -> Selection:
        only = frozenset(pair(name) for kind, name in self.chosen if kind == "only")
        return Selection(
            exclude_schemas={name for kind, name in self.chosen if kind == "schema"},
            exclude_tables={pair(name) for kind, name in self.chosen if kind == "table"},
            tables=only or None,
        )

    def __str__(self) -> str:
        made = (f"{who}: {text}" for who, text in (statements("make")[n] for n in self.made))
        changed = (f"{who}: {text}" for who, text in (statements("change")[n] for n in self.changed))
        lines = [f"by the {self.user}, {self.mode}; left out of the dump {self.left_out}, chosen {self.chosen}"]
        lines += ["owner: drop"] * self.drops
        return "\n    ".join([*lines, *made, "-- dumped", *changed])


def a_case(seed: int, user: str, mode: str | None = None) -> Case:
    """Return a case that this number tells."""
    dice = random.Random(f"{seed} {user}")
    share = dice.choice((0.3, 0.6, 0.9))
    make, change = statements("make"), statements("change")
    rest = 1.0 if user == "superuser" else dice.choice((0.05, 0.2, 0.5))  # an owner is refused most of what others made
    shares = {"owner": 1.0, "friend": 1.0, "stranger": rest, "superuser": rest}
    made = tuple(n for n in range(len(make)) if dice.random() < share * shares[make[n][0]])
    share = dice.choice((0.03, 0.1, 0.2))
    changed = [n for n in range(len(change)) if dice.random() < share * shares[change[n][0]]]
    dice.shuffle(changed)
    mode = mode or dice.choice(("transaction",) * 6 + ("swap", "elsewhere"))
    left_out: list[tuple[str, str]] = []
    chosen: list[tuple[str, str]] = []
    if dice.random() < 0.5:
        left_out += [(dice.choice(("table", "rows")), name) for name in TABLES if dice.random() < 0.12]
        left_out += [("schema", name) for name in SCHEMAS if dice.random() < 0.12]
    if mode != "swap" and dice.random() < 0.4:
        chosen += [("table", name) for name in TABLES if dice.random() < 0.12]
        chosen += [("schema", name) for name in SCHEMAS if dice.random() < 0.12]
    elif mode != "swap" and dice.random() < 0.25:
        chosen += [("only", name) for name in TABLES if dice.random() < 0.2]
    return Case(user, mode, made, tuple(changed), dice.random() < 0.4, tuple(left_out), tuple(chosen))


def pair(name: str) -> tuple[str, str]:
    schema, _, table = name.partition(".")
    return schema, table


# --- what is there -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Piece:
    """An entry of a dump: what it says, the object that it belongs to, and by which id the server knows it."""

    text: str
    home: ObjectIdentity
    oid: int
    owner: str = ""


@dataclass(frozen=True)
class State:
    """All that a database holds."""

    pieces: Mapping[Key, Piece] = field(repr=False)

    @property
    def objects(self) -> frozenset[ObjectIdentity]:
        return frozenset(piece.home for piece in self.pieces.values())


_ROWS = """
SELECT n.nspname, c.relname,
    format('SELECT md5(coalesce(string_agg(t::text, E''\\n'' ORDER BY t::text), '''')) FROM ONLY %I.%I t',
    nspname, relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND c.relispopulated"""
_LARGE_OBJECTS = """
SELECT m.oid::text, m.oid::bigint, concat_ws(' ', obj_description(m.oid, 'pg_largeobject'),
    encode(lo_get(m.oid), 'hex')), lomowner::regrole::text
FROM pg_largeobject_metadata m"""


_SUBSCRIPTIONS = """
SELECT subname FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid AND d.datname = current_database()"""


class AnyDatabase:
    """Makes, changes and restores databases of one server, and compares."""

    def __init__(self, postgres: EmbeddedPostgres, place: Path) -> None:
        self.postgres, self.place = postgres, place
        self.tools: Tools = find_tools(postgres.bin_directory)
        self.major = int(postgres.execute("SHOW server_version_num")[0][0]) // 10000
        self._mark = next(_numbers)
        for role in ROLES:
            postgres.create_role(self.role(role), password=PASSWORD, attributes="CREATEDB" if role == "keeper" else "")
        postgres.execute(f"GRANT {self.role('friend')} TO {self.role('keeper')}")
        inherit = " WITH INHERIT FALSE" if self.major >= 16 else ""
        if inherit:
            postgres.execute(f"GRANT {self.role('distant')} TO {self.role('keeper')}{inherit}")

    def role(self, name: str) -> str:
        return f"{name}_{self._mark}"

    def failures(self, case: Case) -> list[str]:
        """Make, dump, change and restore; return where the outcome is not what the plan said."""
        name = f"any_{self._mark}_{next(_numbers)}"
        self.postgres.execute(f"CREATE DATABASE {name} OWNER {self.role('keeper')}")
        try:
            return list(_Run(self, case, name).failures())
        finally:
            self._drop(name)

    def _drop(self, name: str) -> None:
        found = self.postgres.execute(f"SELECT datname FROM pg_database WHERE starts_with(datname, '{name}')")
        for (each,) in found:
            for (sub,) in self.postgres.execute(_SUBSCRIPTIONS, each):
                self.postgres.execute(f"DROP SUBSCRIPTION {quoted(sub)}", each)
            self.postgres.execute(f"DROP DATABASE {quoted(each)} WITH (FORCE)")


@dataclass
class _Run:
    any: AnyDatabase
    case: Case
    name: str
    refused: str = ""

    @property
    def superuser(self) -> Server:
        return self.any.postgres.server(self.name)

    @property
    def user(self) -> Server:
        if self.case.user == "superuser":
            return self.superuser
        return replace(self.superuser, user=self.any.role("keeper"), password=PASSWORD)

    def execute(self, part: str, numbers: tuple[int, ...]) -> None:
        connections: dict[str, Any] = {}
        try:
            for number in numbers:
                who, statement = statements(part)[number]
                if who not in connections:
                    role = self.any.role({"owner": "keeper"}.get(who, who))
                    server = replace(self.superuser, user=role, password=PASSWORD)
                    connections[who] = (self.superuser if who == "superuser" else server).connect(autocommit=True)
                    connections[who].execute("SET statement_timeout = '20s'; SET search_path = public")
                known = {each: self.any.role(each) for each in ROLES} | {"owner": self.any.role("keeper")}
                for key, value in (known | {"database": self.name}).items():
                    statement = statement.replace(f"{{{key}}}", value)
                with suppress(psycopg.Error):
                    connections[who].execute(statement.encode())
        finally:
            for connection in connections.values():
                connection.close()

    def dump(self, **options: Any) -> Path:
        path = self.any.place / f"{self.name}-{next(_numbers)}.dump"
        options = {"compression": "none", **options}
        return dump_to_path(
            self.superuser, self.any.tools, PgDumpOptions(**options), path, progress=lambda _line: None
        ).path

    def state(self, server: Server | None = None) -> State:
        server = server or self.superuser
        path = self.any.place / f"state-{next(_numbers)}.dump"
        argv = [self.any.tools.path("pg_dump"), "--no-password", "-Fc", "-Z0", "-f", path]
        subprocess.run(argv, env=child_environment(server), check=True, capture_output=True)
        entries = [each for each in table_of_contents(path).entries if each.desc not in _NOT_COMPARED]
        path.unlink()
        contents = Contents(entries)
        found: dict[Key, Piece] = {}
        for entry in entries:
            home = contents.home(entry)
            key = (entry.desc, entry.schema, entry.name)
            if entry.desc == "DEFAULT ACL":
                key = ("DEFAULT ACL", entry.schema, f"{entry.name} made by {entry.owner}")
            text = f"{_NAMED_NOT_NULL.sub('NOT NULL', entry.definition)} {entry.access_method} {entry.copy}"
            identity = (home.desc, home.schema, home.name)
            if entry.desc == "INDEX ATTACH":  # it goes with the partition's index
                identity = self._of_the_index(contents, entry) or identity
            if home.desc == "SHELL TYPE":
                identity = ("TYPE", home.schema, home.name)
            if entry.desc in ("ACL", "COMMENT") and home is entry:
                identity = self._annotated(entry.schema, entry.name)
            found[key] = Piece(text, key if entry.desc == "DEFAULT ACL" else identity, entry.oid, entry.owner)
        with server.connect(autocommit=True) as connection:
            for oid, number, text, owner in connection.execute(_LARGE_OBJECTS).fetchall():
                found["LARGE OBJECT", None, oid] = Piece(text, ("LARGE OBJECT", None, oid), number, owner)
            for schema, table, query in connection.execute(_ROWS).fetchall():
                kind = ("TABLE" if ("TABLE", schema, table) in found else "MATERIALIZED VIEW", schema, table)
                if kind in found:
                    rows = connection.execute(query).fetchone()[0]
                    found["ROWS", schema, table] = Piece(rows, found[kind].home, 0)
        return State(found)

    @staticmethod
    def _annotated(schema: str | None, tag: str) -> ObjectIdentity:
        """What an annotation without an entry of its own object is about."""
        if tag.startswith("LARGE OBJECT"):
            return "LARGE OBJECT", None, tag.split()[2]
        kind, _, name = tag.partition(" ")
        return kind, schema, unquoted(name)

    @staticmethod
    def _of_the_index(contents: Contents, entry: TocEntry) -> ObjectIdentity | None:
        indexes = (each for each in contents.entries if each.desc in ("INDEX", "CONSTRAINT"))
        same = (each for each in indexes if (each.schema, each.name.split()[-1]) == (entry.schema, entry.name))
        home = next(map(contents.home, same), None)
        return home and (home.desc, home.schema, home.name)

    # --- the property ----------------------------------------------------------------------------------------------

    def failures(self) -> Iterator[str]:
        case = self.case
        self.execute("make", case.made)
        dumped = self.state()
        dump = self.dump(**case.exclusions)
        checking = self._checking()
        self.execute("change", case.changed)
        before = self.state()
        into = self.user
        exclusions = PgDumpOptions(**case.exclusions).exclusions
        if case.mode == "elsewhere":
            other = f"{self.name}_b"
            self.any.postgres.execute(f"CREATE DATABASE {other} OWNER {self.any.role('keeper')}")
            into = self.user.with_database(other)
            before = self.state(self.superuser.with_database(other))
        if case.mode == "swap":
            yield from self._swapped(dump, dumped, checking)
            return
        options = PgRestoreOptions(*[Keep.DROP if case.drops else Keep.KEEP] * 2)
        try:
            plan = plan_database_restore(into, self.any.tools, dump, case.selection, options, exclusions)
        except GlacierProviderError as error:
            REFUSED.append((case, f"{type(error).__name__}: {error.message}"))
            return
        try:
            done = restore_planned(plan, into, self.any.tools, options, progress=lambda _line: None, checking=checking)
        except GlacierProviderError as error:
            yield f"planned, and failed: {type(error).__name__}: {error.message}"
            return
        after = self.state(self.superuser.with_database(into.dbname))
        told = " ".join([*(each["object"] for each in done.failed), *done.warnings])
        yield from _Comparison(plan, told, dumped, before, after, exclusions, case.drops).failures()

    def _checking(self) -> RestoreChecking:
        """What a restore is compared with before it is committed, as the product notes it when it dumps."""
        left = self.case.exclusions
        with self.user.connect() as connection:
            connection.execute("SET search_path = ''")
            expected = take_fingerprint(
                over(connection),
                hashes=True,
                schemas=left["exclude_schemas"],
                tables=[".".join(table) for table in left["exclude_tables"]],
                rowless=[".".join(table) for table in left["exclude_table_data"]],
            )
        expected = expected.without("owner") if self.case.drops else expected
        checks = [name for name in CHECKS if not (name == GRANTS and self.case.drops)]
        return RestoreChecking(DatabaseChecks(expected, checks=checks), lambda _line: None)

    def _swapped(self, dump: Path, dumped: State, checking: RestoreChecking) -> Iterator[str]:
        try:
            restore_by_swap(
                self.user,
                self.any.tools,
                dump,
                PgRestoreOptions(*[Keep.DROP if self.case.drops else Keep.KEEP] * 2),
                mark="restore_1_1",
                jobs=2,
                progress=lambda _: None,
                checking=checking,
            )
        except ChecksFailed as error:
            yield f"swapped, and failed: {error.message}"
            return
        except GlacierProviderError as error:
            REFUSED.append((self.case, f"{type(error).__name__}: {error.message}"))
            return
        after = self.state()
        left = PgDumpOptions(**self.case.exclusions).exclusions
        for key, piece in dumped.pieces.items():
            if self.case.drops and key[0] in ("ACL", "DEFAULT ACL", "USER MAPPING"):
                continue
            if key[0] == "SUBSCRIPTION" or left.named:  # a swap is of the whole database
                continue
            if key not in after.pieces:
                yield f"swapped: {key} is lost"
            elif after.pieces[key].text != piece.text:
                yield f"swapped: {key} is {after.pieces[key].text!r} and was {piece.text!r}"


REFUSED: list[tuple[Case, str]] = []  #: what was refused by a plan, for who looks whether that was right
_NOT_COMPARED = {"ENCODING", "STDSTRINGS", "SEARCHPATH", "DATABASE", "DATABASE PROPERTIES", "TABLE DATA"}
_NOT_COMPARED |= {"BLOB", "BLOBS", "BLOB METADATA", "BLOB DATA"}
#: From 18 on they have names, which are others where the first is taken by a partition that stayed.
_NAMED_NOT_NULL = re.compile(r"CONSTRAINT \w+_not_null\d* NOT NULL")
_TIED_ANEW = {"FK CONSTRAINT", "TABLE ATTACH", "INDEX ATTACH", "PUBLICATION TABLE", "PUBLICATION TABLES IN SCHEMA"}
_TIED_ANEW |= {"POLICY", "RULE", "STATISTICS"}
_SYSTEM = ("pg_catalog", "information_schema")


@dataclass
class _Comparison:
    """What a plan said, and what became of it; `told` is what the restore itself said that it could not do."""

    plan: DatabasePlan
    told: str
    dumped: State
    before: State
    after: State
    exclusions: Exclusions
    drops: bool

    def failures(self) -> Iterator[str]:
        found = self.plan.inventory
        lists: dict[str, set[ObjectIdentity]] = {
            "replaced": set(found.replaced),
            "restored": set(found.restored),
            "dropped": set(found.dropped),
            "stays": set(found.stays),
            "left out": set(found.left_out),
        }
        for (one, objects), (other, others) in combinations(lists.items(), 2):
            if objects & others:
                yield f"in two lists, {one} and {other}: {sorted(objects & others, key=str)}"
        of = {each: name for name, objects in lists.items() for each in objects}
        yield from self._what_is_there(of)
        yield from self._what_was_there(of)
        yield from self._what_was_dumped(of)

    def _what_is_there(self, of: Mapping[ObjectIdentity, str]) -> Iterator[str]:
        for key, piece in self.after.pieces.items():
            verdict = of.get(piece.home)
            if key[1] in _SYSTEM:
                continue
            if verdict is None:
                yield f"in no list, and there: {key} of {piece.home}"
            elif verdict in ("dropped", "left out"):
                yield f"{verdict}, and there: {key} of {piece.home}"
            elif verdict == "stays":
                yield from self._as_it_was(key, piece)
            else:
                yield from self._as_dumped(key, piece)

    def _what_was_there(self, of: Mapping[ObjectIdentity, str]) -> Iterator[str]:
        for home in self.before.objects - of.keys():
            if home[1] not in _SYSTEM:
                yield f"in no list, and was there: {home}"
        for key, piece in self.before.pieces.items():
            if of.get(piece.home) == "stays" and not self._is_accounted_for(key):
                yield f"stays, and is gone: {key} of {piece.home} ({self.plan.inventory.stays[piece.home]})"

    def _what_was_dumped(self, of: Mapping[ObjectIdentity, str]) -> Iterator[str]:
        for key, piece in self.dumped.pieces.items():
            verdict = of.get(piece.home)
            if verdict in ("replaced", "restored") and key in self._held and not self._is_accounted_for(key):
                yield f"{verdict}, and is not there: {key} of {piece.home}"
            schema = piece.home[2] if piece.home[0] == "SCHEMA" else piece.home[1]
            was_left_out = schema in self.exclusions.schemas or piece.home[1:] in self.exclusions.tables
            was_left_out = was_left_out or key not in self._held  # the sequence of an identity column of such a table
            if verdict is None and not was_left_out and key not in self._removed and schema not in _SYSTEM:
                yield f"in no list, and in the dump: {key} of {piece.home}"

    @cached_property
    def _held(self) -> frozenset[Key]:
        """What the dump holds: without what it left out, with all that ties it to the rest."""
        kinds = {"TABLE DATA": "ROWS", "MATERIALIZED VIEW DATA": "ROWS"}
        return frozenset((kinds.get(each.desc, each.desc), each.schema, each.name) for each in self.plan.toc.entries)

    @cached_property
    def _removed(self) -> frozenset[Key]:
        return frozenset((each.entry.desc, each.entry.schema, each.entry.name) for each in self.plan.removed)

    def _is_accounted_for(self, key: Key) -> bool:
        return key in self.after.pieces or key in self._removed or key[1] in _SYSTEM or self._is_told(key)

    def _is_made_again(self, piece: Piece) -> bool:
        """A view that the dump left out, or its rows, goes with what it needs, and comes back."""
        kind, schema, name = piece.home
        relations = {*self.exclusions.tables, *self.exclusions.table_data}
        left_out = schema in self.exclusions.schemas or (schema, name) in relations
        return kind in ("VIEW", "MATERIALIZED VIEW") and left_out

    def _is_told(self, key: Key) -> bool:
        return key[2] in self.told or key[2].rpartition(" ")[2] in self.told

    def _as_it_was(self, key: Key, piece: Piece) -> Iterator[str]:
        was = self.before.pieces.get(key)
        if key[0] in ("ACL", "COMMENT") and piece.home[0] == "SCHEMA":  # those of the dump come to those of today
            return
        if was is None:
            # A chosen table is published again by what published it, and stays.
            if key[0] != "PUBLICATION TABLE" or self._text_of(self.dumped, key) != piece.text:
                yield f"stays, and has got {key} of {piece.home}: {piece.text!r}"
        elif was.text != piece.text and not self._is_told(key) and not _is_tied_to_a_parent(key, piece):
            yield f"stays, and changed: {key} of {piece.home} from {was.text!r} to {piece.text!r}"
        elif key[0] not in _TIED_ANEW and was.owner != piece.owner:
            yield f"stays, and changed: {key} of {piece.home} belongs to {piece.owner} and did to {was.owner}"
        elif key[0] not in _TIED_ANEW and was.oid != piece.oid and not self._is_made_again(piece):
            yield f"stays, and is another: {key} of {piece.home}"

    @staticmethod
    def _text_of(state: State, key: Key) -> str | None:
        piece = state.pieces.get(key)
        return None if piece is None else piece.text

    def _as_dumped(self, key: Key, piece: Piece) -> Iterator[str]:
        was = self.dumped.pieces.get(key)
        of_what_stays = key[0] == "ROWS" and piece.home[0] == "MATERIALIZED VIEW" and self.plan.inventory.stays
        without_rows = key[0] in ("ROWS", "SEQUENCE SET") and key not in self._held
        if (self.drops and key[0] in ("ACL", "DEFAULT ACL")) or of_what_stays or without_rows:
            return
        if was is None:
            yield f"is as dumped, and has got {key} of {piece.home}: {piece.text!r}"
        elif was.text != piece.text and not self._is_told(key) and key not in self._removed:
            yield f"is not as dumped: {key} of {piece.home} is {piece.text!r} and was {was.text!r}"
        elif was.owner != piece.owner and not self.drops:
            yield f"is not as dumped: {key} of {piece.home} belongs to {piece.owner} and did to {was.owner}"


def _is_tied_to_a_parent(key: Key, piece: Piece) -> bool:
    """A table that stayed and inherits again has what it inherits in its own right, too: SQL cannot take that back."""
    return key[0] == "TABLE" and "\nINHERITS (" in piece.text


# --- a smaller case ------------------------------------------------------------------------------------------------


def shrunk(case: Case, fails: Callable[[Case], bool]) -> Case:
    """Return a smaller case that fails, too."""
    for name in ("changed", "made", "left_out", "chosen"):
        kept = list(getattr(case, name))
        size = max(len(kept) // 2, 1)
        while kept and size:
            start = 0
            while start < len(kept):
                fewer = kept[:start] + kept[start + size :]
                smaller = replace(case, **{name: tuple(fewer)})
                if fails(smaller):
                    kept, case = fewer, smaller
                else:
                    start += size
            size //= 2
    return case
