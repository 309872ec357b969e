from __future__ import annotations

import json

from glacier_provider.core.checks import MOST_IN_MANIFEST, SCHEMA, Fingerprint, compare, fit_for_manifest
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
