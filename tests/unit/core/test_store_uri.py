from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glacier_provider.core.store_uri import (
    STORAGE_CLASSES,
    S3Uri,
    StoreUriFault,
    VaultUri,
    check_new_store,
    parse_store_uri,
    store_uri_pattern,
)
from glacier_provider.errors import ConfigurationError
from glacier_provider.stores import client_type, open_store
from glacier_provider.stores.s3.store import S3Store, s3_client_config


def test_a_bucket_with_a_prefix_is_glacier_unless_told_otherwise() -> None:
    assert parse_store_uri("s3://my-backups/prod/db") == S3Uri("my-backups", "prod/db", "GLACIER")
    assert parse_store_uri("s3://my-backups") == S3Uri("my-backups", "", "GLACIER")


def test_every_parameter_has_its_place() -> None:
    text = (
        "s3://my-backups/prod?storage_class=DEEP_ARCHIVE&region=eu-central-1&sse=aws:kms&kms_key_id=alias/backups"
        "&object_lock_days=90&object_lock_mode=COMPLIANCE"
    )
    parsed = parse_store_uri(text)
    assert parsed == S3Uri(
        bucket="my-backups",
        prefix="prod",
        storage_class="DEEP_ARCHIVE",
        region="eu-central-1",
        sse="aws:kms",
        kms_key_id="alias/backups",
        object_lock_days=90,
        object_lock_mode="COMPLIANCE",
    )
    assert str(parsed) == text


def test_equal_places_have_one_spelling() -> None:
    spellings = ["s3://b-1/p", "s3://b-1/p/", "s3://b-1/p?storage_class=GLACIER"]
    assert {str(parse_store_uri(text)) for text in spellings} == {"s3://b-1/p?storage_class=GLACIER"}


def test_vault_names_keep_their_case() -> None:
    assert parse_store_uri("glacier://My_Vault.1?region=us-west-2") == VaultUri("My_Vault.1", "us-west-2")
    assert str(parse_store_uri("glacier://My_Vault.1")) == "glacier://My_Vault.1"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("my-backups/prod", "scheme"),
        ("https://my-backups/prod", "https"),
        ("s3://My_Backups/prod", "bucket name"),
        ("s3:///prod", "bucket name"),
        ("s3://my-backups/a//b", "prefix"),
        ("s3://my-backups/a/../b", "prefix"),
        ("s3://my-backups/a b", "prefix"),
        ("s3://my-backups/" + "p" * 257, "prefix"),
        ("s3://my-backups/prod?storage_class=COLD", "GLACIER, DEEP_ARCHIVE"),
        ("s3://my-backups/prod?class=GLACIER", "'class'"),
        ("s3://my-backups/prod?storageclass=GLACIER", "did you mean 'storage_class'?"),
        ("s3://my-backups/prod?storage_class=glacier", "did you mean 'GLACIER'?"),
        ("s3://my-backups/prod?storage_class=INTELLIGENT_TIERING", "there are: GLACIER, DEEP_ARCHIVE"),
        ("s3://my-backups/prod?object_lock_days=9&object_lock_mode=governance", "did you mean 'GOVERNANCE'?"),
        ("s3://My-Backups/prod", "did you mean 'my-backups'?"),
        ("s3://[my-backups/prod", "not a URI"),
        ("s3://my-backups/prod?storage_class=", "empty"),
        ("s3://my-backups/prod?region=eu-central-1&region=us-east-1", "twice"),
        ("s3://my-backups/prod?region=Frankfurt", "region"),
        ("s3://my-backups/prod?sse=none", "AES256"),
        ("s3://my-backups/prod?kms_key_id=alias/x", "sse=aws:kms"),
        ("s3://my-backups/prod?object_lock_days=0", "object_lock_days"),
        ("s3://my-backups/prod?object_lock_mode=GOVERNANCE", "object_lock_days"),
        ("s3://my-backups/prod#x", "fragment"),
        ("glacier://my vault", "vault name"),
        ("glacier://vault/path", "no path"),
        ("glacier://vault?storage_class=GLACIER", "'storage_class'"),
    ],
)
def test_a_bad_uri_is_explained_with_an_example(text: str, named: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_store_uri(text)
    assert named in str(caught.value)
    (examples,) = re.findall(r"Example: (\S+(?: or \S+)?)\. ", str(caught.value))
    for example in examples.split(" or "):
        assert str(parse_store_uri(example)) != text


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("s3://backups--euc1-az1--x-s3/prod", "directory bucket"),
        ("s3://backups--ol-s3/prod", "access point"),
        ("s3://192.168.5.4/prod", "such a name"),
        ("s3://my..backups/prod", "such a name"),
        ("s3://xn--backups/prod", "such a name"),
        ("s3://backups?object_lock_days=36501", "36500 days at most"),
    ],
)
def test_what_can_keep_no_archives_is_refused_to_new_ones_and_read_for_old_ones(text: str, named: str) -> None:
    with pytest.raises(StoreUriFault, match=named):
        check_new_store(text)
    parse_store_uri(text)


@pytest.mark.parametrize("region", ["eusc-de-east-1", "us-gov-west-1", "us-isob-east-1", "mx-central-1"])
def test_regions_of_every_partition_are_known(region: str) -> None:
    check_new_store(f"s3://my-backups?region={region}")


def test_credentials_in_a_uri_are_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_store_uri("s3://AKIAEXAMPLE:very-secret@my-backups/prod")
    assert "AWS connection" in str(caught.value)
    assert "very-secret" not in str(caught.value)


@pytest.mark.parametrize("text", ["s3://my-backups/user:very-secret@x", "s3:key:very-secret@my-backups"])
def test_credentials_anywhere_in_a_uri_are_not_repeated(text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_store_uri(text)
    assert "very-secret" not in str(caught.value)


_PREFIXES = st.lists(st.from_regex(r"[A-Za-z0-9!_*'()-]{1,10}", fullmatch=True), max_size=4).map("/".join)


@given(
    bucket=st.from_regex(r"[a-z0-9][a-z0-9-]{1,20}[a-z0-9]", fullmatch=True),
    prefix=_PREFIXES,
    storage_class=st.sampled_from(STORAGE_CLASSES),
    region=st.sampled_from([None, "eu-central-1", "us-gov-west-1"]),
    days=st.none() | st.integers(1, 99_999),
)
def test_a_parsed_uri_is_its_own_text(
    bucket: str, prefix: str, storage_class: str, region: str | None, days: int | None
) -> None:
    place = S3Uri(bucket, prefix, storage_class, region, object_lock_days=days)
    assert parse_store_uri(str(place)) == place
    assert re.search(store_uri_pattern(), str(place))


def test_a_store_is_opened_by_its_scheme() -> None:
    store = open_store("s3://my-backups/prod?storage_class=GLACIER_IR", client=object())
    assert isinstance(store, S3Store)
    assert (store.uri, store.features.retrieval) == ("s3://my-backups/prod?storage_class=GLACIER_IR", False)
    assert (client_type("s3://my-backups"), client_type("glacier://vault")) == ("s3", "glacier")


def test_the_client_gets_the_region_of_the_uri() -> None:
    assert s3_client_config(S3Uri("b-1", region="eu-central-1")).region_name == "eu-central-1"
    config = s3_client_config(S3Uri("b-1"))
    assert (config.region_name, config.request_checksum_calculation) == (None, "when_required")


@pytest.mark.parametrize(
    ("text", "days", "key"),
    [
        ("s3://my-backups/p?object_lock_days=07", 7, None),
        ("s3://my-backups/p?sse=aws:kms&kms_key_id=mine%20or%26yours@home", None, "mine or&yours@home"),
    ],
)
def test_what_archives_were_sent_under_is_read_for_ever(text: str, days: int | None, key: str | None) -> None:
    """The catalog keeps a store's URI as it was written: whatever was ever accepted must open the store again."""
    parsed = parse_store_uri(text)
    assert isinstance(parsed, S3Uri)
    assert (parsed.object_lock_days, parsed.kms_key_id) == (days, key)


@pytest.mark.parametrize("text", ["s3://AKIAX:geheim/bucket", "s3:key:geheim", "glacier://key:geheim/vault"])
def test_credentials_without_an_at_sign_are_not_repeated_either(text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_store_uri(text)
    assert "geheim" not in str(caught.value)
