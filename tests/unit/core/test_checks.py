from __future__ import annotations

import json

from glacier_provider.core.checks import (
    INDEXES,
    MOST_IN_MANIFEST,
    ROW_HASHES,
    SCHEMA,
    Fingerprint,
    compare,
    fit_for_manifest,
)
from glacier_provider.core.told import _LONGEST_HEAD


def fingerprint(tables: int, columns: int) -> Fingerprint:
    names = [f"public.table_of_some_length_{n}" for n in range(tables)]
    objects = {f"{name}\tcolumn_{at}": ("true", "0123456789ab") for name in names for at in range(columns)}
    return Fingerprint(18, tables=dict.fromkeys(names, (1_000_000, None)), objects={"column": objects})


def test_a_manifest_carries_all_of_a_fingerprint_that_is_small() -> None:
    kept = fingerprint(100, 10).as_dict()
    assert fit_for_manifest(kept) == kept
    assert fit_for_manifest(None) is None


def test_of_very_many_objects_a_manifest_carries_the_rows_and_stays_one_that_a_rebuild_reads() -> None:
    """With all of it the first line would be longer than what is read of any store."""
    kept = fingerprint(20_000, 8).as_dict()
    assert len(json.dumps(kept)) > _LONGEST_HEAD
    carried = fit_for_manifest(kept)
    assert carried is not None
    assert len(json.dumps(carried)) <= MOST_IN_MANIFEST <= _LONGEST_HEAD // 4
    read = Fingerprint.from_dict(json.loads(json.dumps(carried)))
    assert (len(read.tables), dict(read.objects)) == (20_000, {})


def test_of_very_many_tables_a_manifest_carries_nothing() -> None:
    assert fit_for_manifest(fingerprint(60_000, 0).as_dict()) is None


def test_what_is_missing_is_told_once_and_not_its_owner_and_its_comments_too() -> None:
    objects = {
        "relation": {"public.rooms": ("r", ""), "public.tags": ("r", "")},
        "owner": {"public.rooms": ("ann", ""), "public.tags": ("ann", "")},
        "comment on relation": {"public.rooms": ("1", ""), "public.tags": ("2", "")},
    }
    less = {
        "relation": {"public.tags": ("r", "")},
        "owner": {"public.tags": ("bob", "")},
        "comment on relation": {},
    }
    (schema,) = compare(Fingerprint(17, objects=objects), Fingerprint(17, objects=less), checks=[SCHEMA])
    assert schema.found == (
        "relation public.rooms is not there",
        "owner of public.tags is bob, and was ann",
        "comment on relation public.tags is not there",
    )
    (unowned,) = compare(
        Fingerprint(17, objects=objects).without("owner"), Fingerprint(17, objects=less), checks=[SCHEMA]
    )
    assert len(unowned.found) == 2


def test_hashes_of_texts_are_not_compared_between_encodings_and_what_was_never_finished_is_not_missed() -> None:
    objects = {
        "function": {"public.season\t()": ("f", "0123")},
        "comment on relation": {"public.rooms": ("1", ""), "public.tags": ("2", "")},
        "index": {"public.rooms\tunfinished": ("false", "~0"), "public.rooms\tby_name": ("true", "~1")},
    }
    other = {
        "function": {"public.season\t()": ("f", "4567")},
        "comment on relation": {"public.rooms": ("3", "")},
        "index": {},
    }
    old, new = ({"public.rooms": (1, number)} for number in ("7", "8"))
    expected = Fingerprint(17, True, old, objects, encoding="LATIN1")
    for encoding, differing in (("UTF8", (1, 1)), ("LATIN1", (1, 3, 1)), ("", (1, 3, 1))):
        found = Fingerprint(17, True, new, other, encoding=encoding)
        results = compare(expected, found, checks=[ROW_HASHES, SCHEMA, INDEXES])
        assert tuple(one.differing for one in results) == differing, encoding
    assert results[-1].found == ("index public.rooms by_name is not there",)
    kept = json.loads(json.dumps(expected.as_dict()))
    assert Fingerprint.from_dict(kept).encoding == "LATIN1"
    del kept["encoding"]  # of a backup that did not note it
    assert Fingerprint.from_dict(kept).encoding == ""


def test_definitions_are_compared_where_both_servers_spell_them_alike() -> None:
    was, now = ({"index": {"public.rooms\tby_floor": ("true", digest)}} for digest in ("0a", "0b"))
    for version, told in ((17, ("index public.rooms by_floor has another definition",)), (18, ())):
        (indexes,) = compare(Fingerprint(17, objects=was), Fingerprint(version, objects=now), checks=[INDEXES])
        assert (indexes.compared, indexes.found) == (1, told)
