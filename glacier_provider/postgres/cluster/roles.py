"""The roles that a database needs, without passwords: read at the backup, made again on a server without them.

Roles belong to the cluster, and no dump of a database has them. What is recorded of them any role may read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from glacier_provider.postgres.tools.server import Server, database_errors
from glacier_provider.postgres.tools.sql import literal, quoted

# Owners, grantees, roles of policies, user mappings and default privileges are in pg_shdepend, but for the bootstrap
# superuser, who is pinned. Then the roles that those are members of, and who logs in as a member of one.
_NEEDED = """
WITH RECURSIVE here AS (SELECT oid, datdba FROM pg_catalog.pg_database WHERE datname = current_database()),
direct AS (
  SELECT d.refobjid AS oid FROM pg_catalog.pg_shdepend d, here
   WHERE d.refclassid = 'pg_catalog.pg_authid'::regclass
     AND (d.dbid = here.oid OR d.classid = 'pg_catalog.pg_database'::regclass AND d.objid = here.oid)
  UNION SELECT datdba FROM here
  UNION SELECT s.setrole FROM pg_catalog.pg_db_role_setting s, here WHERE s.setdatabase = here.oid AND s.setrole <> 0
  UNION SELECT relowner FROM pg_catalog.pg_class WHERE oid >= 16384
  UNION SELECT nspowner FROM pg_catalog.pg_namespace WHERE oid >= 16384 AND nspname !~ '^pg_'),
above AS (
  SELECT oid FROM direct
  UNION SELECT m.roleid FROM above JOIN pg_catalog.pg_auth_members m ON m.member = above.oid),
below AS (
  SELECT direct.oid FROM direct JOIN pg_catalog.pg_roles r USING (oid) WHERE NOT r.rolsuper
  UNION SELECT m.member FROM below JOIN pg_catalog.pg_auth_members m ON m.roleid = below.oid),
needed AS (
  SELECT r.* FROM pg_catalog.pg_roles r
   WHERE r.rolname !~ '^pg_' AND (r.oid IN (SELECT oid FROM above)
                                  OR r.rolcanlogin AND NOT r.rolsuper AND r.oid IN (SELECT oid FROM below)))
SELECT (SELECT coalesce(json_agg(json_build_object(
          'name', rolname, 'login', rolcanlogin, 'inherit', rolinherit, 'createdb', rolcreatedb,
          'createrole', rolcreaterole, 'superuser', rolsuper, 'replication', rolreplication,
          'bypassrls', rolbypassrls, 'connection_limit', rolconnlimit, 'valid_until', rolvaliduntil,
          'settings', rolconfig, 'comment', shobj_description(oid, 'pg_authid')) ORDER BY rolname), '[]') FROM needed),
       (SELECT coalesce(json_agg(json_build_object(
          'role', g.rolname, 'member', n.rolname, 'admin', m.admin_option,
          'inherit', to_jsonb(m)->'inherit_option', 'set', to_jsonb(m)->'set_option')
          ORDER BY g.rolname, n.rolname), '[]')
          FROM pg_catalog.pg_auth_members m JOIN needed n ON n.oid = m.member
          JOIN pg_catalog.pg_roles g ON g.oid = m.roleid
         WHERE g.oid IN (SELECT oid FROM needed) OR g.rolname ~ '^pg_')"""

# Since 15. Of which roles they are needed, the other query tells.
_PARAMETERS = """
SELECT p.parname, coalesce(r.rolname, 'PUBLIC'), a.privilege_type, a.is_grantable
  FROM pg_catalog.pg_parameter_acl p CROSS JOIN pg_catalog.aclexplode(p.paracl) a
  LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.grantee
 WHERE r.rolname = ANY (%s) ORDER BY 1, 2, 3"""


def read_roles(server: Server) -> dict[str, Any]:
    """Return the `roles` that the database needs, their `memberships` and privileges on `parameters`, as the catalog
    and the manifest keep them.
    """
    parameters: list[Any] = []
    with server.connect(autocommit=True, bare=True) as connection, database_errors(server, "reading its roles"):
        row = connection.execute(_NEEDED).fetchone()
        roles, memberships = row or ([], [])
        if connection.info.server_version >= 150000:
            parameters = connection.execute(_PARAMETERS, ([role["name"] for role in roles],)).fetchall()
    for role in roles:
        role["settings"], role["left_out"] = _without_own_settings(role["settings"] or [])
        if role["comment"] is None:
            del role["comment"]
    names = ("name", "role", "privilege", "grantable")
    recorded = {"roles": roles, "memberships": memberships}
    return recorded | ({"parameters": [dict(zip(names, one, strict=True)) for one in parameters]} if parameters else {})


def _without_own_settings(settings: Sequence[str]) -> tuple[list[str], list[str]]:
    """Part settings of PostgreSQL from those of an application: of these the name is kept, a value may be secret."""
    own = [one.partition("=")[0] for one in settings if "." in one.partition("=")[0]]
    return [one for one in settings if "." not in one.partition("=")[0]], own


@dataclass(frozen=True, slots=True)
class RoleStatement:
    """SQL that makes a role, or a part of it; `roles` are those that it is about.

    `by_hand`: it gives power beyond the database, and is for a person to run, not for a restore.
    """

    roles: tuple[str, ...]
    sql: str
    by_hand: bool = False


def role_statements(recorded: Mapping[str, Any]) -> list[RoleStatement]:
    """Return the statements that make the recorded roles: all of them, then what they have, and their memberships."""
    roles = [
        role for role in recorded.get("roles") or [] if isinstance(role, dict) and isinstance(role.get("name"), str)
    ]
    made = [RoleStatement((role["name"],), _create(role)) for role in roles]
    for role in roles:
        made += _powers(role)
        made += _settings(role)
        if isinstance(role.get("comment"), str):
            said = f"COMMENT ON ROLE {quoted(role['name'])} IS {literal(role['comment'])}"
            made.append(RoleStatement((role["name"],), said))
    made += _memberships(recorded.get("memberships") or [])
    return made + list(_parameters(recorded.get("parameters") or []))


def _create(role: Mapping[str, Any]) -> str:
    words = [f"CREATE ROLE {quoted(role['name'])}"]
    for name in ("login", "inherit", "createdb", "createrole"):
        words.append(name.upper() if role.get(name) else f"NO{name.upper()}")
    limit = role.get("connection_limit", -1)
    words += [f"CONNECTION LIMIT {limit}"] if isinstance(limit, int) and limit >= 0 else []
    words += [f"VALID UNTIL {literal(str(role['valid_until']))}"] if role.get("valid_until") else []
    return " ".join(words)


def _powers(role: Mapping[str, Any]) -> Iterator[RoleStatement]:
    powers = [name.upper() for name in ("superuser", "replication", "bypassrls") if role.get(name)]
    if powers:
        yield RoleStatement((role["name"],), f"ALTER ROLE {quoted(role['name'])} {' '.join(powers)}", by_hand=True)


_LISTS = ("search_path", "local_preload_libraries", "session_preload_libraries", "temp_tablespaces")


def _settings(role: Mapping[str, Any]) -> Iterator[RoleStatement]:
    for one in role.get("settings") or []:
        name, _, value = str(one).partition("=")
        if name.isidentifier() and name.isascii():
            # Names of a list are quoted as they need it, which SET takes as it is given.
            written = _list_of_names(value) if name in _LISTS else literal(value)
            yield RoleStatement((role["name"],), f"ALTER ROLE {quoted(role['name'])} SET {quoted(name)} TO {written}")


def _list_of_names(value: str) -> str:
    names: list[str] = []
    rest = value.strip()
    while rest:
        if rest.startswith('"'):
            end = 1
            while end < len(rest) and not (rest[end] == '"' and rest[end + 1 : end + 2] != '"'):
                end += 2 if rest[end] == '"' else 1
            names.append(rest[1:end].replace('""', '"'))
            rest = rest[end + 1 :].lstrip(" ,")
        else:
            name, _, rest = rest.partition(",")
            names.append(name.strip())
            rest = rest.strip()
    return ", ".join(map(literal, names)) or "''"


def _memberships(memberships: Sequence[Any]) -> Iterator[RoleStatement]:
    for one in memberships:
        if not (isinstance(one, dict) and isinstance(one.get("role"), str) and isinstance(one.get("member"), str)):
            continue
        options = ["ADMIN OPTION"] if one.get("admin") else []
        if one.get("inherit") is not None:  # since 16; before, the member's INHERIT decides
            options = [f"{word.upper()} {'TRUE' if one.get(word) else 'FALSE'}" for word in ("admin", "inherit", "set")]
        how = f" WITH {', '.join(options)}" if options else ""
        sql = f"GRANT {quoted(one['role'])} TO {quoted(one['member'])}{how}"
        yield RoleStatement((one["role"], one["member"]), sql, by_hand=one["role"].startswith("pg_"))


def _parameters(parameters: Sequence[Any]) -> Iterator[RoleStatement]:
    """Yield what lets roles set parameters of the server: of all of its databases, so by hand."""
    for one in parameters:
        if not (isinstance(one, dict) and isinstance(one.get("role"), str) and isinstance(one.get("name"), str)):
            continue
        if one.get("privilege") in ("SET", "ALTER SYSTEM"):
            name = ".".join(map(quoted, one["name"].split(".")))
            grantable = " WITH GRANT OPTION" if one.get("grantable") else ""
            sql = f"GRANT {one['privilege']} ON PARAMETER {name} TO {quoted(one['role'])}{grantable}"
            yield RoleStatement((one["role"],), sql, by_hand=True)


def create_roles(server: Server, recorded: Mapping[str, Any]) -> tuple[str, ...]:
    """Make the recorded roles that the server does not have, with settings and memberships, as far as the user may.

    Roles that are there are left as they are. Return a sentence for each statement that could not, or should not, be
    run, with the statement.
    """
    import psycopg

    left: list[str] = []
    with server.connect(autocommit=True, bare=True) as connection, database_errors(server, "making roles"):
        there = {str(name) for (name,) in connection.execute("SELECT rolname FROM pg_catalog.pg_roles").fetchall()}
        row = connection.execute("SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user").fetchone()
        superuser = bool(row and row[0])
        made: set[str] = set()
        for statement in role_statements(recorded):
            new = [role for role in statement.roles if role not in there]
            if not new:
                continue
            if statement.by_hand:
                left.append(f"To be run by hand, if it is wanted: {statement.sql};")
                continue
            try:
                connection.execute(statement.sql.encode())
            except psycopg.Error as error:
                if connection.closed:
                    raise
                left.append(f"Not made: {statement.sql}; ({str(error).strip().splitlines()[0]})")
                continue
            if statement.sql.startswith("CREATE ROLE"):
                made |= set(new)
                if not superuser:  # to give objects to it
                    _join(connection, new[0])
    return tuple(left)


def _join(connection: Any, role: str) -> None:
    """Become a member of a role that we made: its objects can be given to it by a member alone."""
    import contextlib

    import psycopg

    with contextlib.suppress(psycopg.Error):
        connection.execute(f"GRANT {quoted(role)} TO CURRENT_USER".encode())
