"""Odd things lie in the store: each is left out by its name, and all the rest is rebuilt."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glacier_provider.errors import ArchiveMissing, StoreUnavailable
from glacier_provider.pipelines.delete import delete_backup
from tests.integration.test_rebuild import known, lose_the_catalog, rebuild, some_history
from tests.support.application import ApplicationUnderTest
from tests.unit.core.test_told import ODD_FILES, ODD_VALUES

Entries = list[dict[str, Any]]


class Shelf:
    """The manifests of an application, to be exchanged."""

    def __init__(self, app: ApplicationUnderTest) -> None:
        self.app = app
        self.client = app.s3.client()
        self.objects = {
            stored.key: self.client.get_object(Bucket=app.bucket, Key=stored.key)
            for stored in app.store.archives(described=False)
            if "/manifests/" in stored.key
        }
        self.bytes = {key: reply["Body"].read() for key, reply in self.objects.items()}

    def key(self, backup_id: int) -> str:
        return next(key for key in self.objects if key.endswith(f"{backup_id:012d}.json.gz"))

    def entries(self, backup_id: int) -> Entries:
        return [json.loads(line) for line in gzip.decompress(self.bytes[self.key(backup_id)]).splitlines()]

    def put(self, backup_id: int, data: bytes, **changed: str) -> None:
        """Put other bytes under the key of a manifest, with metadata that agrees."""
        key = self.key(backup_id)
        metadata = {**self.objects[key]["Metadata"], "sha256": hashlib.sha256(data).hexdigest(), "size": str(len(data))}
        self.client.put_object(Bucket=self.app.bucket, Key=key, Body=data, Metadata={**metadata, **changed})

    def put_entries(self, backup_id: int, entries: Entries) -> None:
        text = b"".join(json.dumps(one).encode() + b"\n" for one in entries)
        self.put(backup_id, gzip.compress(text))

    def put_back(self) -> None:
        for key, data in self.bytes.items():
            self.client.put_object(Bucket=self.app.bucket, Key=key, Body=data, Metadata=self.objects[key]["Metadata"])


def changed_file(change: dict[str, Any]) -> Callable[[Entries], Entries]:
    def exchange(entries: Entries) -> Entries:
        at = next(index for index, entry in enumerate(entries) if "file" in entry)
        return [*entries[:at], {"file": {**entries[at]["file"], **change}}, *entries[at + 1 :]]

    return exchange


def changed_head(**change: Any) -> Callable[[Entries], Entries]:
    return lambda entries: [{"backup": {**entries[0]["backup"], **change}}, *entries[1:]]


HOSTILE: dict[str, Callable[[Entries], Entries]] = {
    **{odd: changed_file(change) for odd, change in ODD_FILES.items()},
    "no database": changed_head(database=None),
    "another backup": changed_head(id=3),
    "another application": changed_head(application="other"),
    "a deep report": changed_head(report={"x": json.loads("[" * 500 + "]" * 500)}),
    "a list for a file": lambda entries: [entries[0], {"file": [1]}, *entries[2:]],
    "another bucket": changed_file({"store_uri": "s3://somebody-elses/pre?storage_class=GLACIER"}),
    "a vault": changed_file({"store_uri": "glacier://somebody-elses"}),
    "a file that is another one": changed_file({"id": 1, "key": "pre/dms/files/000000000/000000000001-doc1.pdf"}),
}


def test_each_odd_manifest_is_left_out_by_its_name_and_the_others_come_back(dms: ApplicationUnderTest) -> None:
    backups = some_history(dms)
    before = known(dms)
    shelf = Shelf(dms)
    files = [row for row in before["archives"] if row[1] == "file"]
    taken = next(row for row in files if row[2] == "doc3.pdf")
    HOSTILE["a file that is another one"] = changed_file({"id": taken[0], "key": taken[10], "filename": "other.pdf"})
    for odd, exchange in HOSTILE.items():
        shelf.put_entries(backups[3], exchange(shelf.entries(backups[3])))
        lose_the_catalog(dms)
        rebuilt = rebuild(dms)
        assert len(rebuilt.left_out) == 1, odd
        assert f"{backups[3]:012d}.json.gz (backup {backups[3]}): " in rebuilt.left_out[0], odd
        assert rebuilt.complete == 3, odd
        assert known(dms)["backups"] == before["backups"][:3], odd
        assert known(dms)["members"] == [row for row in before["members"] if row[0] != backups[3]], odd
    shelf.put_back()
    lose_the_catalog(dms)
    rebuild(dms)
    assert known(dms) == before


def test_other_bytes_than_were_written_and_places_that_nobody_named_are_left_out(dms: ApplicationUnderTest) -> None:
    backups = some_history(dms)
    shelf = Shelf(dms)
    entries = shelf.entries(backups[3])
    shelf.put(backups[3], shelf.bytes[shelf.key(backups[3])], sha256="0" * 64)
    lose_the_catalog(dms)
    assert "its bytes are not those that were written" in rebuild(dms).left_out[0]
    shelf.put_entries(backups[3], HOSTILE["another bucket"](entries))
    lose_the_catalog(dms)
    assert "it names archives in s3://somebody-elses," in rebuild(dms).left_out[0]


def test_what_is_no_manifest_at_all_is_left_out_by_its_name(dms: ApplicationUnderTest) -> None:
    backups = some_history(dms)
    shelf = Shelf(dms)
    folder = shelf.key(backups[0]).rpartition("/")[0]
    shelf.put(backups[3], gzip.compress(b" " * 300_000_000))
    for number, metadata in ((77, {}), (78, {"name": "x"}), (10**11, shelf.objects[shelf.key(backups[0])]["Metadata"])):
        key = f"{folder}/{number:012d}.json.gz"
        shelf.client.put_object(Bucket=dms.bucket, Key=key, Body=b"x", Metadata=metadata)
    shelf.client.put_object(Bucket=dms.bucket, Key=f"{folder}/{'9' * 300}.json.gz", Body=b"x")
    lose_the_catalog(dms)
    rebuilt = rebuild(dms)
    assert rebuilt.complete == 3
    keys = [text.partition(": ")[0] for text in rebuilt.left_out]
    named = [key.rpartition("/")[2].partition(".")[0] for key in keys]
    assert sorted(map(int, named)) == [backups[3], 77, 78, 10**11]


def test_an_odd_manifest_that_lies_in_the_cold_is_waited_for_and_left_out(dms: ApplicationUnderTest) -> None:
    backups = some_history(dms)
    shelf = Shelf(dms)
    key = shelf.key(backups[3])
    shelf.client.put_object(
        Bucket=dms.bucket,
        Key=key,
        Body=b"\x1f\x8b odd",
        Metadata=shelf.objects[key]["Metadata"],
        StorageClass="GLACIER",
    )
    lose_the_catalog(dms)
    with pytest.raises(StoreUnavailable, match=r"is bringing 1 manifest of 1"):
        rebuild(dms)
    dms.s3.clock.advance(60)
    rebuilt = rebuild(dms)
    assert (rebuilt.complete, len(rebuilt.left_out)) == (3, 1)


def test_only_those_that_continue_an_odd_manifest_are_missing(dms: ApplicationUnderTest) -> None:
    backups = some_history(dms)
    shelf = Shelf(dms)
    shelf.put(backups[1], b"\x1f\x8b odd")
    lose_the_catalog(dms)
    rebuilt = rebuild(dms)
    assert rebuilt.complete == 1
    assert len(rebuilt.left_out) == 1
    assert {text.partition(":")[0] for text in rebuilt.broken} == {f"Backup {number}" for number in backups[1:]}


def test_an_odd_manifest_alone_is_named_in_the_refusal(dms: ApplicationUnderTest) -> None:
    backup_id = dms.back_up()
    Shelf(dms).put(backup_id, b"odd")
    lose_the_catalog(dms)
    with pytest.raises(ArchiveMissing, match=f"{backup_id:012d}.json.gz"):
        rebuild(dms)


def test_a_dump_that_two_backups_call_theirs_is_that_of_which_it_says_so_itself(dms: ApplicationUnderTest) -> None:
    """Else the deletion of the one would take the other's."""
    backups = some_history(dms)
    shelf = Shelf(dms)
    stolen = shelf.entries(backups[1])[0]["backup"]["database"]
    shelf.put_entries(backups[3], changed_head(database=stolen)(shelf.entries(backups[3])))
    lose_the_catalog(dms)
    rebuilt = rebuild(dms)
    assert (rebuilt.complete, len(rebuilt.left_out)) == (3, 1)
    assert f"(backup {backups[3]})" in rebuilt.left_out[0]


def test_whatever_is_changed_in_one_manifest_the_backups_before_it_come_back(dms: ApplicationUnderTest) -> None:
    backups = some_history(dms)
    shelf = Shelf(dms)

    @settings(max_examples=25, deadline=None)
    @given(st.data())
    def check(data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(backups[1:]))
        entries = shelf.entries(number)
        ((kind, value),) = (entry := data.draw(st.sampled_from(entries))).items()
        if isinstance(value, dict):
            inner = value["database"] if "database" in value and data.draw(st.booleans()) else value
            inner[data.draw(st.sampled_from(sorted(inner)))] = data.draw(ODD_VALUES)
        else:
            entry[kind] = data.draw(ODD_VALUES)
        shelf.put_back()
        shelf.put_entries(number, entries)
        lose_the_catalog(dms)
        rebuilt = rebuild(dms)
        assert all(f"(backup {number})" in text for text in rebuilt.left_out)
        whole = {row[0] for row in known(dms)["backups"]}
        assert whole >= {one for one in backups if one < number}
        assert number not in whole or not rebuilt.left_out

    check()


# --- names that had two archives -----------------------------------------------------------------------------------


def test_a_name_that_had_two_archives_is_no_obstacle(dms: ApplicationUnderTest) -> None:
    first = dms.back_up()
    (dms.files / "doc1.pdf").unlink()
    dms.back_up()
    delete_backup(dms.application, first, dms.a_run("delete"), catalog=dms.catalog, stores=dms.stores)
    dms.write("doc1.pdf", "content 1, another one")
    third = dms.back_up()
    before = known(dms)
    lose_the_catalog(dms)
    rebuilt = rebuild(dms)
    assert rebuilt.complete == 2
    assert not rebuilt.left_out
    assert known(dms)["members"] == before["members"]
    (dms.files / "doc1.pdf").unlink()
    dms.restore(third)
    assert dms.contents()["doc1.pdf"] == b"content 1, another one"
