from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from glacier_provider.postgres.dump.toc import TocEntry
from glacier_provider.postgres.restore.selection import Contents, Selection, TocEdit, edit
from tests.unit.postgres.builders import DumpBuilder

NAMES = st.sampled_from(
    [
        "a",
        "a b",
        'q"uote',
        "new\nline",
        "SCHEMA",
        "Größe",
        "TABLE DATA",
        "glacier_archives",
        "glacier_catalog",
        " ",
        "a.b",
    ]
)
SCHEMAS = st.sampled_from(["public", "glacier_catalog", "SCHEMA", "odd schema", 'x"y'])


@dataclass
class Imagined:
    """A dump with tables, all their pieces, foreign keys, partitions and views, and which are which."""

    entries: list[TocEntry]
    tables: list[TocEntry]
    foreign_keys: list[tuple[TocEntry, TocEntry]]
    views: list[tuple[TocEntry, TocEntry]]
    parents: dict[int, TocEntry]


@st.composite
def dumps(draw: st.DrawFn) -> Imagined:
    builder = DumpBuilder()
    names = draw(st.lists(st.tuples(SCHEMAS, NAMES), min_size=1, max_size=6, unique=True))
    for schema in sorted({schema for schema, _ in names}):
        builder.schema(schema)
    tables, parents = [], {}
    for schema, name in names:
        parent = draw(st.sampled_from([None, *tables])) if tables else None
        if parent is not None and draw(st.booleans()):
            tables.append(builder.partition(parent, schema, name))
            parents[tables[-1].dump_id] = parent
        else:
            tables.append(builder.table(schema, name))
        builder.pieces(tables[-1])
    pairs = draw(st.lists(st.tuples(st.sampled_from(tables), st.sampled_from(tables)), max_size=4))
    keys = [(builder.foreign_key(table, target), target) for table, target in pairs]
    views = [
        (builder.add("VIEW", schema, f"view {n}", table), table)
        for n, (schema, table) in enumerate(draw(st.lists(st.tuples(SCHEMAS, st.sampled_from(tables)), max_size=3)))
    ]
    return Imagined(builder.entries, tables, keys, views, parents)


SELECTIONS = st.builds(
    Selection,
    exclude_schemas=st.frozensets(SCHEMAS, max_size=2),
    exclude_tables=st.frozensets(st.tuples(SCHEMAS, NAMES), max_size=4),
    tables=st.none() | st.frozensets(st.tuples(SCHEMAS, NAMES), min_size=1, max_size=4),
)


def removed(result: TocEdit) -> list[TocEntry]:
    return [each.entry for each in result.removed]


def identity(entry: TocEntry) -> tuple[str, str]:
    return (entry.schema or "", entry.name)


@given(dumps(), SELECTIONS)
def test_kept_and_removed_are_the_whole_list_in_order(dump: Imagined, selection: Selection) -> None:
    result = edit(dump.entries, selection)
    assert sorted([*result.kept, *removed(result)], key=lambda entry: entry.dump_id) == dump.entries
    assert list(result.kept) == [entry for entry in dump.entries if entry in result.kept]
    assert all(each.reason for each in result.removed)


@given(dumps(), SELECTIONS)
def test_pieces_go_where_their_relation_goes(dump: Imagined, selection: Selection) -> None:
    result, contents = edit(dump.entries, selection), Contents(dump.entries)
    kept = set(result.kept)
    for entry in dump.entries:
        owners = [owner for owner in contents.owners(entry) if owner.desc != "SCHEMA"]
        if selection.tables is None:
            assert not (entry in kept and any(owner not in kept for owner in owners))
        elif entry in kept and entry.desc != "SCHEMA" and identity(entry) not in selection.tables:
            assert any(owner in kept for owner in owners)


@given(dumps(), SELECTIONS)
def test_nothing_but_what_is_excluded_is_removed(dump: Imagined, selection: Selection) -> None:
    """Names that merely contain an excluded name, owners called like a kind: all that stays (seed fault 5)."""
    result, contents = (
        edit(dump.entries, Selection(selection.exclude_schemas, selection.exclude_tables)),
        Contents(dump.entries),
    )

    def excluded(entry: TocEntry) -> bool:
        own = entry.schema in selection.exclude_schemas or entry.name in selection.exclude_schemas
        return own or identity(entry) in selection.exclude_tables or any(map(excluded, contents.owners(entry)))

    assert all(excluded(entry) for entry in removed(result))


@given(dumps(), SELECTIONS)
def test_excluded_schemas_and_tables_are_never_kept(dump: Imagined, selection: Selection) -> None:
    for entry in edit(dump.entries, selection).kept:
        assert entry.schema not in selection.exclude_schemas
        assert not (entry.desc == "SCHEMA" and entry.name in selection.exclude_schemas)
        assert not (entry.desc in ("TABLE", "TABLE DATA") and identity(entry) in selection.exclude_tables)


@given(dumps(), SELECTIONS)
def test_partitions_follow_an_excluded_parent(dump: Imagined, selection: Selection) -> None:
    kept = set(edit(dump.entries, Selection(selection.exclude_schemas, selection.exclude_tables)).kept)
    for table in dump.tables:
        parent = dump.parents.get(table.dump_id)
        assert not (parent is not None and parent not in kept and table in kept)


@given(dumps(), SELECTIONS)
def test_a_foreign_key_to_a_table_that_is_not_restored_is_a_conflict(dump: Imagined, selection: Selection) -> None:
    result = edit(dump.entries, selection)
    kept = set(result.kept)
    expected = {
        (key.dump_id, target.dump_id) for key, target in dump.foreign_keys if key in kept and target not in kept
    }
    keys = {key.dump_id for key, _ in dump.foreign_keys}
    found = {(c.entry.dump_id, c.needed.dump_id) for c in result.conflicts if c.needed and c.entry.dump_id in keys}
    assert found == expected


@given(dumps(), SELECTIONS)
def test_a_view_over_a_table_that_is_not_restored_is_a_conflict_that_the_target_may_solve(
    dump: Imagined, selection: Selection
) -> None:
    result = edit(dump.entries, selection)
    kept = set(result.kept)
    for view, table in dump.views:
        found = [each for each in result.conflicts if each.entry == view and each.needed == table]
        assert bool(found) == (view in kept and table not in kept)


def example() -> tuple[DumpBuilder, TocEntry, TocEntry]:
    builder = DumpBuilder()
    builder.schema("glacier_catalog")
    archives = builder.table("glacier_catalog", "glacier_archives")
    builder.pieces(archives)
    report = builder.table("public", "legacy_glacier_archives_report")
    builder.pieces(report)
    return builder, archives, report


def test_a_table_that_only_sounds_like_the_catalog_is_kept() -> None:
    builder, _, report = example()
    result = edit(builder.entries, Selection(exclude_schemas=frozenset({"glacier_catalog"})))
    assert list(result.kept) == builder.entries[builder.entries.index(report) :]


def test_an_owner_called_schema_matches_nothing() -> None:
    builder = DumpBuilder()
    table = builder.add("TABLE", "public", "a", owner="SCHEMA")
    result = edit(builder.entries, Selection(exclude_schemas=frozenset({"SCHEMA"})))
    assert result.kept == (table,)


def test_a_table_that_the_dump_does_not_hold_is_unknown() -> None:
    builder, _, _ = example()
    wanted = frozenset({("public", "nothing"), ("glacier_catalog", "glacier_archives")})
    assert edit(builder.entries, Selection(tables=wanted)).unknown == (("public", "nothing"),)


def test_a_foreign_key_to_a_table_that_the_dump_left_out_is_a_conflict() -> None:
    builder = DumpBuilder()
    orders = builder.table("public", "orders")
    elsewhere = TocEntry(999, 0, 0, "TABLE", "glacier_catalog", "glacier_archives", "app")
    key = builder.foreign_key(orders, elsewhere)
    (conflict,) = edit(builder.entries, Selection()).conflicts
    assert (conflict.entry, conflict.needed) == (key, None)
    assert "glacier_catalog.glacier_archives" in str(conflict)


def test_a_constraint_belongs_to_the_table_that_its_sql_alters() -> None:
    """ "a" with the constraint "b c", and "a b" with the constraint "c", have the same tag."""
    builder = DumpBuilder()
    a, a_b = builder.table("public", "a"), builder.table("public", "a b")
    key = builder.add(
        "FK CONSTRAINT", "public", "a b c", a, a_b,
        definition='ALTER TABLE ONLY public.a\n  ADD CONSTRAINT "b c" FOREIGN KEY (x) REFERENCES public."a b"(x);',
    )  # fmt: skip
    trigger = builder.add(
        "TRIGGER", "public", "a b c", a_b, a, definition='CREATE TRIGGER c BEFORE UPDATE ON public."a b" WHEN (true)'
    )
    contents = Contents(builder.entries)
    assert contents.owners(key) == (a,)
    assert contents.owners(trigger) == (a_b,)


def test_a_partition_attached_inline_follows_its_parent() -> None:
    """As pg_dump 10 to 13 write it."""
    builder = DumpBuilder()
    parent = builder.add("TABLE", "public", "p", definition="CREATE TABLE public.p (id int) PARTITION BY RANGE (id);")
    child = builder.add(
        "TABLE", "public", "c", parent,
        definition="CREATE TABLE public.c (id int);\nALTER TABLE ONLY public.p ATTACH PARTITION public.c DEFAULT;",
    )  # fmt: skip
    result = edit(builder.entries, Selection(exclude_tables=frozenset({("public", "p")})))
    assert removed(result) == [parent, child]


def test_a_child_by_inheritance_does_not_follow_but_is_a_conflict() -> None:
    builder = DumpBuilder()
    parent = builder.table("public", "p")
    child = builder.add("TABLE", "public", "c", parent, definition="CREATE TABLE public.c () INHERITS (public.p);")
    result = edit(builder.entries, Selection(exclude_tables=frozenset({("public", "p")})))
    assert result.kept == (child,)
    assert [(each.entry, each.needed) for each in result.conflicts] == [(child, parent)]


def test_one_table_of_thousands_is_removed_alone() -> None:
    builder = DumpBuilder()
    for n in range(2_000):
        builder.pieces(builder.table("public", f"t{n}"))
    result = edit(builder.entries, Selection(exclude_tables=frozenset({("public", "t7")})))
    assert len(result.removed) == 17
