"""What is checked of a restored database: it is compared with what was in the dump's own snapshot. Pure."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from glacier_provider.core.text import NAMED, counted, some

ROW_COUNTS, ROW_HASHES, SCHEMA, CONSTRAINTS = "row_counts", "row_hashes", "schema", "constraints"
SEQUENCES, TRIGGERS, INDEXES, GRANTS, EXTENSIONS = "sequences", "triggers", "indexes", "grants", "extensions"
#: Every check by name, but for a user's assertions, which are called `assertion <name>`.
CHECKS = (ROW_COUNTS, ROW_HASHES, SCHEMA, CONSTRAINTS, SEQUENCES, TRIGGERS, INDEXES, GRANTS, EXTENSIONS)

#: Whether a backup has each name that its `references_query` gives in the restored database.
REFERENCES = "references"

#: What a restore can be held to.
CHECKS_OF_RESTORES = (*CHECKS, REFERENCES)

#: What a restore is held to unless it is told otherwise: another server may well have another version of an extension,
#: and a file that was missing on the day of the backup must not stop what is there.
RESTORE_CHECKS = tuple(name for name in CHECKS if name != EXTENSIONS)

_CHECK_OF = {
    "constraint": CONSTRAINTS,
    "sequence": SEQUENCES,
    "trigger": TRIGGERS,
    "index": INDEXES,
    "grant": GRANTS,
    "extension": EXTENSIONS,
}  #: of the kinds of objects; any other is of the schema


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One check: how many things were `compared`, how many of them differ, and the first of these, a sentence each."""

    name: str
    compared: int
    differing: int = 0
    found: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        return self.differing == 0

    def __str__(self) -> str:
        if self.passed:
            return f"{self.name}: {self.compared:,} compared"
        return f"{self.name}: {self.differing:,} of {self.compared:,} differ ({some(self.found, self.differing)})"

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "found": list(self.found), "passed": self.passed}


def checks_in_words(checks: Iterable[Mapping[str, Any]]) -> str:
    """Return what the checks of a restore came to, in a line; they are told as by `CheckResult.as_dict`.

    >>> checks_in_words([{"name": "schema", "passed": True}, {"name": "grants", "passed": False}])
    '1 check passed, and did not: grants'
    """
    told = list(checks)
    failed = [str(one["name"]) for one in told if not one["passed"]]
    passed = f"{counted(len(told) - len(failed), 'check')} passed"
    return f"{passed}, and did not: {', '.join(failed)}" if failed else passed


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What was in a database. `tables`: rows of each, and with `hashes` a number that its rows give in any order; None
    for one that this user may not read. `objects`: by kind and name, what has to be equal on any server (as whether a
    constraint is valid) and a digest of the definition, which counts between servers of one major version. A name
    begins with the schema and, where there is one, the table; a tab is behind these. `seconds`: what it took.
    `encoding`: the database's, in which texts are hashed; empty: it is not known.
    """

    version: int
    hashes: bool = False
    tables: Mapping[str, tuple[int, str | None] | None] = field(default_factory=dict)
    objects: Mapping[str, Mapping[str, tuple[str, str]]] = field(default_factory=dict)
    seconds: float = 0.0
    encoding: str = ""

    @property
    def rows(self) -> int:
        return sum(figure[0] for figure in self.tables.values() if figure is not None)

    def without(self, kind: str) -> Fingerprint:
        """Return it without objects whose kind begins so, as "owner" or "comment": what is known not to be restored."""
        return replace(self, objects={name: named for name, named in self.objects.items() if not name.startswith(kind)})

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, kept: Mapping[str, Any]) -> Fingerprint:
        """Return what `as_dict` gave, after JSON; raise ValueError, TypeError or KeyError for what is none."""
        return cls(
            version=int(kept["version"]),
            hashes=bool(kept["hashes"]),
            tables={
                str(name): None if one is None else (int(one[0]), None if one[1] is None else str(one[1]))
                for name, one in kept["tables"].items()
            },
            objects={
                str(kind): {str(name): (str(one[0]), str(one[1])) for name, one in named.items()}
                for kind, named in kept["objects"].items()
            },
            seconds=float(kept["seconds"]),
            encoding=str(kept.get("encoding", "")),
        )


#: A rebuild refuses a manifest whose first line is longer than 8 MiB: the least of what is in it must not make it so.
MOST_IN_MANIFEST = 2 << 20


def fit_for_manifest(kept: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return what a manifest carries of a fingerprint: all of it, of very many objects the rows alone, or nothing."""
    if kept is None:
        return None
    for one in (dict(kept), {**kept, "objects": {}}):
        if len(json.dumps(one)) <= MOST_IN_MANIFEST:
            return one
    return None


def is_exempt(name: str, exempt: frozenset[str]) -> bool:
    """Whether an object, or its table, is among what was not restored, as a dump's table of contents names it."""
    place, _, rest = name.partition("\t")
    of_schema = f"{place.partition('.')[0]}.{rest}"  # an index, say
    return not exempt.isdisjoint((place, f"{place} {rest}", f"{place}{rest}", of_schema))


def compare(
    expected: Fingerprint, found: Fingerprint, *, exempt: frozenset[str] = frozenset(), checks: Collection[str] = CHECKS
) -> tuple[CheckResult, ...]:
    """Return the result of each of `checks` that can be made: without hashes in both there is no `row_hashes`.

    Between databases of different encodings no hash of a text is compared, of definitions or comments, and there is no
    `row_hashes` either: what compared nothing has not passed.
    `exempt` are objects that were not restored, and that is known ("schema.name", "schema.table name", of an extension
    "extension name", "schema name").
    """
    expected = _without(expected, exempt)
    results = []
    if ROW_COUNTS in checks:
        results.append(_rows(expected, found))
    if ROW_HASHES in checks and expected.hashes and found.hashes and _same_encoding(expected, found):
        results.append(_hashes(expected, found))
    for check in CHECKS[2:]:
        if check in checks:
            kinds = [kind for kind in expected.objects if _CHECK_OF.get(kind, SCHEMA) == check]
            lines = [line for kind in kinds for line in _objects(kind, expected, found)]
            compared = sum(len(expected.objects[kind]) for kind in kinds)
            results.append(_result(check, compared, lines))
    return tuple(results)


#: What those of a kind are that belong to no schema.
_BY_ITSELF = {"extension": "extension", "owner": "schema", "comment on schema": "schema"}


def _without(expected: Fingerprint, exempt: frozenset[str]) -> Fingerprint:
    """Return what is expected without what was not restored."""
    if not exempt:
        return expected
    return replace(
        expected,
        tables={name: one for name, one in expected.tables.items() if not is_exempt(name, exempt)},
        objects={
            kind: {
                name: one
                for name, one in named.items()
                if not (is_exempt(name, exempt) or f"{_BY_ITSELF.get(kind)} {name}" in exempt)
            }
            for kind, named in expected.objects.items()
        },
    )


def _result(name: str, compared: int, lines: Sequence[str]) -> CheckResult:
    return CheckResult(name, compared, len(lines), tuple(lines[:NAMED]))


def _rows(expected: Fingerprint, found: Fingerprint) -> CheckResult:
    lines = []
    known = {name: one for name, one in expected.tables.items() if one is not None}
    for name, one in known.items():
        there = found.tables.get(name)
        if name not in found.tables:
            lines.append(f"{name} is not there, and had {counted(one[0], 'row')}")
        elif there is not None and there[0] != one[0]:
            lines.append(f"{name} has {counted(there[0], 'row')}, and had {one[0]:,}")
    return _result(ROW_COUNTS, len(known), lines)


def _hashes(expected: Fingerprint, found: Fingerprint) -> CheckResult:
    both = [(name, one, found.tables.get(name)) for name, one in expected.tables.items() if one is not None]
    lines = [f"{name} has other rows" for name, one, there in both if there is not None and one[1] != there[1]]
    return _result(ROW_HASHES, len(both), lines)


_MISSING, _OTHER = "is not there", "has another definition"
_SAID = {"owner": "owner of"}
#: What a difference means of kinds whose flag says more than that it is one.
_FLAGS = {
    "constraint": {"true": "valid", "false": "not valid"},
    "trigger": {"O": "enabled", "D": "disabled", "R": "enabled for replicas", "A": "always enabled"},
    "index": {"true": "valid", "false": "not valid"},
    "rule": {"O": "enabled", "D": "disabled", "R": "enabled for replicas", "A": "always enabled"},
    "sequence": {"behind": "behind its column", "ahead": "ahead of its column"},
}


def _goes_with_its_object(kind: str, name: str, expected: Fingerprint, found: Fingerprint) -> bool:
    """Whether what is missing is the owner or the comment of what is missing itself, and told."""
    of = kind.removeprefix("comment on ")
    gone = name in expected.objects.get(of, {}) and name not in found.objects.get(of, {})
    return kind == "owner" or (of != kind and gone)


def _same_encoding(expected: Fingerprint, found: Fingerprint) -> bool:
    return "" in (expected.encoding, found.encoding) or expected.encoding == found.encoding


def _objects(kind: str, expected: Fingerprint, found: Fingerprint) -> Iterator[str]:
    there = found.objects.get(kind, {})
    same_text = _same_encoding(expected, found)
    same_spelling = same_text and expected.version == found.version
    words = _FLAGS.get(kind, {})
    for name, (flag, digest) in expected.objects[kind].items():
        said = f"{_SAID.get(kind, kind)} {name}".replace("\t", " ")
        if name not in there:
            never_dumped = kind == "index" and flag == "false"  # pg_dump leaves those alone that were never finished
            if not never_dumped and not _goes_with_its_object(kind, name, expected, found):
                yield f"{said} {_MISSING}"
            continue
        its_flag, its_digest = there[name]
        if flag != its_flag and kind.startswith("comment"):
            if same_text:
                yield f"{said} is another"
        elif flag != its_flag:
            # it was behind, or not finished, when it was dumped, and is not now
            if (kind, its_flag) not in (("sequence", "ahead"), ("index", "true")):
                yield f"{said} is {words.get(its_flag, its_flag)}, and was {words.get(flag, flag)}"
        elif same_spelling and digest != its_digest and digest.startswith("~") == its_digest.startswith("~"):
            yield f"{said} {_OTHER}"
