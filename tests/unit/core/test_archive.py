from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from glacier_provider.core.archive import ArchiveKind, Description, name_from_bytes, name_to_bytes


@given(st.binary())
@example(b"back\\slash")
@example(b"\\x41 is no escape of ours")
@example(b"\\\xff\\")
@example(b"\xed\xa0\x80")  # half a surrogate pair
@example(b"new\nline\xff")
def test_every_file_name_comes_back(raw: bytes) -> None:
    assert name_to_bytes(name_from_bytes(raw)) == raw


@given(st.binary())
def test_a_name_can_be_stored_as_utf8_text(raw: bytes) -> None:
    assert name_from_bytes(raw).encode("utf-8").decode("utf-8") == name_from_bytes(raw)


@given(st.binary(), st.binary())
def test_different_names_stay_different(one: bytes, other: bytes) -> None:
    assert (name_from_bytes(one) == name_from_bytes(other)) is (one == other)


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\\")))
def test_usual_names_stand_for_themselves(name: str) -> None:
    assert name_from_bytes(name.encode()) == name


@given(st.lists(st.binary(min_size=1).filter(lambda part: b"/" not in part), min_size=1))
def test_the_parts_of_a_path_stay_apart(parts: list[bytes]) -> None:
    assert [name_to_bytes(part) for part in name_from_bytes(b"/".join(parts)).split("/")] == parts


@pytest.mark.parametrize("text", ["\\", "a\\", "\\q", "\\x", "\\xf", "\\xFF", "\\x41", "\\xzz"])
def test_a_broken_escape_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="broken escape"):
        name_to_bytes(text)


@given(
    st.builds(
        Description,
        application=st.text(min_size=1),
        kind=st.sampled_from(ArchiveKind),
        archive_id=st.integers(0),
        backup_id=st.integers(0),
        filename=st.text(),
        size=st.integers(0),
        sha256=st.none() | st.just("ab" * 32),
        encoding=st.sampled_from(["identity", "zstd"]),
    )
)
def test_a_description_comes_back_from_json(description: Description) -> None:
    assert Description.from_dict(json.loads(json.dumps(description.as_dict()))) == description


@pytest.mark.parametrize("missing", ["application", "kind", "archive_id", "backup_id", "filename", "size"])
def test_half_a_description_is_refused(missing: str) -> None:
    values = Description("library", ArchiveKind.FILE, 1, 2, "a.txt", 3).as_dict()
    del values[missing]
    with pytest.raises(KeyError):
        Description.from_dict(values)


@pytest.mark.parametrize("damage", [{"kind": "spoon"}, {"size": "many"}])
def test_a_damaged_description_is_refused(damage: dict[str, str]) -> None:
    values = Description("library", ArchiveKind.FILE, 1, 2, "a.txt", 3).as_dict()
    with pytest.raises(ValueError):
        Description.from_dict({**values, **damage})
