"""Builders: entries of an imagined dump, and the bytes of a table of contents as pg_dump writes them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from glacier_provider.postgres.dump.toc import TocEntry
from glacier_provider.postgres.tools.sql import quoted


@dataclass
class DumpBuilder:
    """Collects entries; each method returns the entry that it added."""

    entries: list[TocEntry] = field(default_factory=list)

    def add(
        self, desc: str, schema: str | None, name: str, *needs: TocEntry, definition: str = "", owner: str = "app"
    ) -> TocEntry:
        dump_id = len(self.entries) + 1
        needed = tuple(each.dump_id for each in needs)
        self.entries.append(TocEntry(dump_id, 1259, 16384 + dump_id, desc, schema, name, owner, needed, definition))
        return self.entries[-1]

    def schema(self, name: str) -> TocEntry:
        return self.add("SCHEMA", None, name)

    def table(self, schema: str, name: str, *needs: TocEntry) -> TocEntry:
        return self.add("TABLE", schema, name, *needs, definition=f"CREATE TABLE {sql(schema, name)} ();")

    def pieces(self, table: TocEntry) -> list[TocEntry]:
        """Add what pg_dump writes for a table with a serial key, an index, a trigger, a policy and so on."""
        schema, name, at = table.schema, table.name, sql(table.schema or "", table.name)
        sequence = self.add("SEQUENCE", schema, f"{name}_id_seq", table)
        key = self.add("CONSTRAINT", schema, f"{name} key", table, definition=f"ALTER TABLE ONLY {at} ADD ...")
        index = self.add("INDEX", schema, f"{name} index", table, definition=f"CREATE INDEX i ON {at} (id)")
        acl = self.add("ACL", schema, f"TABLE {quoted(name)}", table)
        return [
            sequence,
            key,
            index,
            acl,
            self.add("SEQUENCE OWNED BY", schema, sequence.name, sequence),
            self.add("DEFAULT", schema, f"{name} id", table, sequence),
            self.add("TABLE DATA", schema, name, table),
            self.add("SEQUENCE SET", schema, sequence.name, sequence),
            self.add("COMMENT", schema, f"INDEX {quoted(index.name)}", index),
            self.add("ACL", schema, f"COLUMN {quoted(name)}.id", table, acl),
            self.add("SECURITY LABEL", schema, f"TABLE {quoted(name)}", table),
            self.add("TRIGGER", schema, f"{name} touch", table),
            self.add("RULE", schema, f"{name} rule", table),
            self.add("POLICY", schema, f"{name} policy", table),
            self.add("ROW SECURITY", schema, name, table),
            self.add("STATISTICS", schema, f"{name} stats", table, table),
        ]

    def foreign_key(self, table: TocEntry, target: TocEntry) -> TocEntry:
        definition = (
            f"ALTER TABLE ONLY {sql(table.schema or '', table.name)}\n    ADD CONSTRAINT fk FOREIGN KEY (target_id) "
            f"REFERENCES {sql(target.schema or '', target.name)}(id);"
        )
        return self.add("FK CONSTRAINT", table.schema, f"{table.name} fk", table, target, definition=definition)

    def partition(self, parent: TocEntry, schema: str, name: str) -> TocEntry:
        child = self.table(schema, name, parent)
        self.add("TABLE ATTACH", schema, name, child, parent)
        return child


def sql(schema: str, name: str) -> str:
    return f"{quoted(schema)}.{quoted(name)}"


@dataclass(frozen=True)
class TocBytes:
    """Writes a table of contents in pg_dump's binary layout (pg_backup_archiver.c: WriteHead, WriteToc)."""

    version: tuple[int, int] = (1, 16)
    custom: bool = True
    compression: int = 1
    encoding: str = "utf-8"
    int_size: int = 4

    def write(self, entries: Iterable[TocEntry], dbname: str = "shop") -> bytes:
        entries = list(entries)
        head = b"PGDMP" + bytes([*self.version, 0, self.int_size, 8, 1 if self.custom else 3])
        head += bytes([self.compression]) if self.version >= (1, 15) else self.integer(-1 if self.compression else 0)
        head += b"".join(self.integer(each) for each in (1, 2, 3, 4, 10, 126, 0))
        head += b"".join(self.text(each) for each in (dbname, "17.10", "17.10 (Debian)"))
        return head + self.integer(len(entries)) + b"".join(self.entry(each) for each in entries)

    def entry(self, entry: TocEntry) -> bytes:
        parts = [self.integer(entry.dump_id), self.integer(int(entry.has_data))]
        parts += [self.text(str(entry.tableoid)), self.text(str(entry.oid)), self.text(entry.name)]
        parts += [self.text(entry.desc), self.integer(2), self.text(entry.definition), self.text("DROP ...")]
        parts += [self.text(None), self.text(entry.schema), self.text("")]
        parts += [self.text("heap")] if self.version >= (1, 14) else []
        parts += [self.integer(114)] if self.version >= (1, 16) else []
        parts += [self.text(entry.owner), self.text("false")]
        parts += [*(self.text(str(each)) for each in entry.dependencies), self.text(None)]
        parts += [b"\x02" + bytes(8)] if self.custom else [self.text("1.dat")]
        return b"".join(parts)

    def integer(self, value: int) -> bytes:
        return bytes([int(value < 0)]) + abs(value).to_bytes(self.int_size, "little")

    def text(self, value: str | None) -> bytes:
        if value is None:
            return self.integer(-1)
        raw = value.encode(self.encoding, "surrogateescape")
        return self.integer(len(raw)) + raw
