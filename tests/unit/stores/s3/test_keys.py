from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glacier_provider.core.archive import ArchiveKind, Description, name_from_bytes
from glacier_provider.stores.s3.keys import (
    MAX_METADATA,
    KeyFacts,
    description_from_metadata,
    is_of,
    key_facts,
    metadata_of,
    object_key,
)

_NAMES = st.binary(min_size=1, max_size=300).filter(lambda raw: b"\0" not in raw).map(name_from_bytes)
_DESCRIPTIONS = st.builds(
    Description,
    application=st.from_regex(r"[a-z0-9][a-z0-9_-]{0,30}", fullmatch=True),
    kind=st.sampled_from(ArchiveKind),
    archive_id=st.integers(1, 10**13),
    backup_id=st.integers(1, 10**13),
    filename=_NAMES,
    size=st.integers(0, 2**50),
    sha256=st.none() | st.just("ab" * 32),
    encoding=st.sampled_from(["identity", "zstd"]),
    written_by=st.none() | st.just("0123456789abcdef"),
)


def described(filename: str, archive_id: int = 1) -> Description:
    return Description("library", ArchiveKind.FILE, archive_id, 1, filename, 0)


@given(_DESCRIPTIONS)
def test_metadata_gives_the_description_back(description: Description) -> None:
    metadata = metadata_of(description, part_size=2**24)
    assert description_from_metadata(metadata) == description
    assert is_of(metadata, description)


@given(_DESCRIPTIONS)
def test_metadata_fits_into_a_header(description: Description) -> None:
    metadata = metadata_of(description)
    assert sum(len(name) + len(value) for name, value in metadata.items()) <= MAX_METADATA
    for text in [*metadata, *metadata.values()]:
        assert text.isascii()
        assert text.isprintable()
        assert text == text.strip()
        assert "_" not in text or text in metadata.values()


@given(_DESCRIPTIONS, st.sampled_from(["", "prod", "a/b"]))
def test_keys_are_short_plain_and_tell_what_they_hold(description: Description, prefix: str) -> None:
    key = object_key(prefix, description)
    number = description.backup_id if description.kind is ArchiveKind.MANIFEST else description.archive_id
    assert key_facts(prefix, key) == KeyFacts(description.application, description.kind, number)
    assert len(key.encode()) <= 1024
    assert key.isascii()
    assert key.isprintable()
    assert not {"", ".", ".."} & set(key.split("/"))


@given(st.lists(st.integers(1, 10**12 - 1), min_size=2, unique=True))
def test_keys_sort_by_archive_id(ids: list[int]) -> None:
    keys = [object_key("prod", described(f"name-{hash(n) % 7}", n)) for n in ids]
    assert [keys[ids.index(n)] for n in sorted(ids)] == sorted(keys)


@given(_DESCRIPTIONS, _DESCRIPTIONS)
def test_metadata_of_one_archive_is_not_taken_for_another(one: Description, other: Description) -> None:
    same = (one.application, one.kind, one.archive_id, one.filename) == (
        other.application,
        other.kind,
        other.archive_id,
        other.filename,
    )
    assert is_of(metadata_of(one), other) is same


def test_the_name_takes_the_first_form_that_fits() -> None:
    forms = {
        "short/ü.txt": "name",
        "я" * 400: "name-base64",
        "я" * 1000: "name-sha256",
    }
    for filename, form in forms.items():
        assert [name for name in metadata_of(described(filename)) if name.startswith("name")] == [form]


def test_a_hashed_name_is_marked() -> None:
    found = description_from_metadata(metadata_of(described("я" * 1000)))
    assert found is not None
    assert found.filename.startswith("sha256:")
    assert not is_of(metadata_of(described("я" * 1000)), described("я" * 1001))


@pytest.mark.parametrize(
    "key",
    [
        "",
        "prod/",
        "prod/library/files/000000000/1-name",
        "prod/library/files/000000000/000000000001",
        "prod/library/files/000000000001-name",
        "prod/library/files/000000001/000000000001-name",
        "prod/library/files/000000000/000000001000-name",
        "prod/library/files/000000000001/name",
        "prod/library/other/000000000/000000000001-name",
        "prod/library/manifests/000000000001.json",
        "prod/library/manifests/000000000/000000000001-name",
        "elsewhere/library/files/000000000/000000000001-name",
        "prod/a/b/files/000000000/000000000001-name",
    ],
)
def test_foreign_keys_tell_nothing(key: str) -> None:
    assert key_facts("prod", key) is None


@pytest.mark.parametrize("damage", [{"kind": "spoon"}, {"archive-id": "x"}, {"name": "%ff"}, {"name-base64": "?"}])
def test_damaged_metadata_describes_nothing(damage: dict[str, str]) -> None:
    metadata = metadata_of(described("a")) | damage
    if "name-base64" in damage:
        del metadata["name"]
    assert description_from_metadata(metadata) is None
    assert description_from_metadata({}) is None
