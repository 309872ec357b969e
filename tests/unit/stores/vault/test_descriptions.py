from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glacier_provider.core.archive import ArchiveKind, Description, name_from_bytes
from glacier_provider.stores.vault.descriptions import (
    MAX_DESCRIPTION,
    description_from_text,
    description_text,
    is_same_archive,
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
    return Description("library", ArchiveKind.FILE, archive_id, 2, filename, 9, "cd" * 32)


@given(_DESCRIPTIONS)
def test_a_text_gives_the_description_back(description: Description) -> None:
    text = description_text(description)
    assert description_from_text(text) == description
    assert description_from_text("  " + text) == description


@given(_DESCRIPTIONS)
def test_a_text_is_what_a_vault_keeps_unchanged(description: Description) -> None:
    text = description_text(description)
    assert len(text) <= MAX_DESCRIPTION
    assert all(" " <= char <= "~" for char in text)
    assert text == " ".join(text.split())


def test_a_person_can_read_it() -> None:
    assert description_text(described("2024/a  b/ü.pdf")) == (
        '{"glacier_provider":1,"app":"library","kind":"file","archive":1,"backup":2,"size":9,'
        f'"sha256":"{"cd" * 32}","name":"2024/a \\u0020b/\\u00fc.pdf"}}'
    )


@pytest.mark.parametrize(
    ("filename", "form"),
    [
        ("a" * 255, "name"),
        ("文" * 200, "name64"),
        ("文/" * 600, "name_sha256"),
        ("/".join(["d" * 255] * 8), "name_sha256"),
        ("\x7f" * 4000, "name_sha256"),
    ],
)
def test_a_name_takes_the_first_form_that_fits(filename: str, form: str) -> None:
    text = description_text(described(filename))
    assert form in json.loads(text)
    told = description_from_text(text)
    assert told is not None
    assert (told.filename == filename) == (form != "name_sha256")


def test_a_name_too_long_shows_its_beginning_and_is_told_by_its_hash() -> None:
    name = "2024/reports/" + "x" * 4000
    values = json.loads(description_text(described(name)))
    assert name.startswith(values["begin"])
    assert len(values["begin"]) == 512
    told, other = (description_from_text(description_text(described(n))) for n in (name, name + "y"))
    assert told is not None
    assert other is not None
    assert told.filename.startswith("sha256:")
    assert told.filename != other.filename


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "holiday photos",
        "[]",
        "{}",
        "7",
        '{"glacier_provider":1}',
        '{"app":"a","kind":"file","archive":1,"backup":2,"size":3,"name":"n"}',
        '{"glacier_provider":1,"app":"a","kind":"tape","archive":1,"backup":2,"size":3,"name":"n"}',
        '{"glacier_provider":1,"app":"a","kind":"file","archive":"1","backup":2,"size":3,"name":"n"}',
        '{"glacier_provider":1,"app":"a","kind":"file","archive":true,"backup":2,"size":3,"name":"n"}',
        '{"glacier_provider":1,"app":["a"],"kind":"file","archive":1,"backup":2,"size":3,"name":"n"}',
        '{"glacier_provider":1,"app":"a","kind":"file","archive":1,"backup":2,"size":3}',
        '{"glacier_provider":1,"app":"a","kind":"file","archive":1,"backup":2,"size":3,"name":7}',
        '{"glacier_provider":1,"app":"a","kind":"file","archive":1,"backup":2,"size":3,"name64":"@@"}',
        '{"glacier_provider":1,"app":"a","kind":"file","archive":1,"backup":2,"size":3,"name64":"_w=="}',
        '{"glacier_provider":1,"app":"a","kind":"file","archive":1,"backup":2,"size":3,"name":"n","sha256":0}',
        "[" * 1000,
    ],
)
def test_what_this_package_did_not_write_describes_nothing(text: str | None) -> None:
    assert description_from_text(text) is None


def test_the_earlier_form_without_a_signature_is_read() -> None:
    text = '{"glacier_provider":1,"app":"library","kind":"file","archive":1,"backup":2,"size":3,"name":"n"}'
    assert description_from_text(text) == Description("library", ArchiveKind.FILE, 1, 2, "n", 3)
    assert description_from_text(text.replace('"size"', '"by":7,"size"')) is None


def test_an_archive_is_told_by_application_kind_id_and_signature() -> None:
    assert is_same_archive(described("a"), described("b"))
    assert not is_same_archive(described("a"), replace(described("a"), written_by="77aa"))
    assert not is_same_archive(described("a"), described("a", archive_id=2))


def test_an_application_name_without_end_is_refused() -> None:
    with pytest.raises(ValueError, match="1024"):
        description_text(Description("a" * 1000, ArchiveKind.FILE, 1, 2, "n", 3))
