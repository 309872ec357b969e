from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glacier_provider.postgres.restore.definitions import (
    altered_table,
    granted_roles,
    mapped_roles,
    mentions_on,
    policy_roles,
    qualified_names,
    referenced_table,
    type_of_table,
    wrapper_of_server,
)
from glacier_provider.postgres.tools.sql import quoted

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12)


@given(NAMES, NAMES, NAMES, NAMES)
def test_a_foreign_key_names_both_of_its_tables(schema: str, table: str, other_schema: str, other: str) -> None:
    sql = (
        f"ALTER TABLE ONLY {quoted(schema)}.{quoted(table)}\n    ADD CONSTRAINT {quoted(table + ' REFERENCES x.y')} "
        f"FOREIGN KEY (a, b) REFERENCES {quoted(other_schema)}.{quoted(other)}(c, d) ON DELETE CASCADE DEFERRABLE;\n"
    )
    assert altered_table(sql) == (schema, table)
    assert referenced_table(sql) == (other_schema, other)


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("ALTER TABLE public.orders ADD CHECK (a > 0);", ("public", "orders")),
        ("ALTER TABLE ONLY public.orders ALTER COLUMN id SET DEFAULT 1;", ("public", "orders")),
        ("ALTER FOREIGN TABLE public.far ADD CHECK (a > 0);", ("public", "far")),
        ("CREATE INDEX i ON public.orders (id);", None),
        ("ALTER TABLE", None),
        ("", None),
    ],
)  # fmt: skip
def test_the_altered_table(sql: str, expected: tuple[str, str] | None) -> None:
    assert altered_table(sql) == expected


@given(NAMES, NAMES, NAMES)
def test_a_table_of_a_type_names_it(schema: str, table: str, kind: str) -> None:
    made = f"CREATE UNLOGGED TABLE {quoted(schema)}.{quoted(table)}"
    assert type_of_table(f"{made} OF {quoted(schema)}.{quoted(kind)} (\n    a WITH OPTIONS NOT NULL\n);") == (
        schema,
        kind,
    )
    assert type_of_table(f"{made} (\n    of public.of\n);") is None


@given(NAMES)
def test_a_server_names_its_wrapper(name: str) -> None:
    made = f"CREATE SERVER wrapper TYPE 'x' FOREIGN DATA WRAPPER {quoted(name)} OPTIONS (a 'b');"
    assert wrapper_of_server(made) == name


@given(NAMES)
def test_a_trigger_mentions_its_table_alone(name: str) -> None:
    sql = (
        f"CREATE TRIGGER \"on public.x\" AFTER UPDATE ON public.{quoted(name)} FOR EACH ROW WHEN ('ON public.y' <> '')"
    )
    assert mentions_on(sql, ("public", name))
    assert not mentions_on(sql, ("public", "x" if name != "x" else "z"))
    assert not mentions_on(sql, ("public", "y" if name != "y" else "z"))


@pytest.mark.parametrize(
    ("sql", "roles"),
    [
        ("GRANT SELECT ON TABLE public.a TO reader;", {"reader"}),
        ("REVOKE ALL ON TABLE a FROM PUBLIC;\nGRANT ALL ON a TO \"Odd TO role\" WITH GRANT OPTION;", {"Odd TO role"}),
        ("SET SESSION AUTHORIZATION giver;\nGRANT SELECT(a) ON TABLE t TO taker;\nRESET SESSION AUTHORIZATION;",
         {"giver", "taker"}),
        ("ALTER DEFAULT PRIVILEGES FOR ROLE boss IN SCHEMA s GRANT SELECT ON TABLES TO reader;", {"boss", "reader"}),
        ("GRANT SELECT ON TABLE public.\"to\" TO a, b,\"c\";", {"a", "b", "c"}),
        ("", set()),
    ],
)  # fmt: skip
def test_roles_of_grants(sql: str, roles: set[str]) -> None:
    assert granted_roles(sql) == roles


@pytest.mark.parametrize(
    ("sql", "roles"),
    [
        ("CREATE POLICY p ON public.t USING ((a = 'TO x'));", set()),
        ('CREATE POLICY p ON public.t FOR SELECT TO reader, "Other One" USING (true);', {"reader", "Other One"}),
        ("CREATE POLICY \"TO y\" ON public.t TO PUBLIC WITH CHECK (x(a TO b));", set()),
    ],
)  # fmt: skip
def test_roles_of_policies(sql: str, roles: set[str]) -> None:
    assert policy_roles(sql) == roles


@pytest.mark.parametrize(
    ("sql", "roles"),
    [
        ("CREATE USER MAPPING FOR \"Far One\" SERVER far OPTIONS (x 'FOR y');", {"Far One"}),
        ("CREATE USER MAPPING FOR PUBLIC SERVER far;", set()),
        ("", set()),
    ],
)
def test_roles_of_user_mappings(sql: str, roles: set[str]) -> None:
    assert mapped_roles(sql) == roles


def test_a_sequence_is_named_in_a_string() -> None:
    sql = "CREATE TABLE s.t (n int DEFAULT nextval('\"it''s\".\"Q\"'::regclass), o text DEFAULT 'a.b'::text)"
    assert set(qualified_names(sql)) == {("s", "t"), ("it's", "Q")}
