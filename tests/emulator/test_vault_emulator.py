"""Vaults, archives and multipart uploads of the vault emulator, through boto3 and against botocore's tree hash."""

from __future__ import annotations

import hashlib
import http.client
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.emulator.vault import VaultEmulator
from tests.emulator.vault_builders import (
    DAY,
    HOUR,
    VAULT,
    begin,
    complete,
    eventually,
    refusal,
    send_part,
    send_parts,
    some_bytes,
    tree_of,
    upload,
)
from tests.emulator.vault_http import parse_route
from tests.emulator.vault_rules import (
    GIB,
    MIB,
    GlacierError,
    Span,
    check_part,
    check_part_size,
    is_tree_aligned,
    tree_hash,
    tree_root,
)

NOT_FOUND = (404, "ResourceNotFoundException")
INVALID = (400, "InvalidParameterValueException")


@pytest.fixture
def emulator(tmp_path: Path) -> Iterator[VaultEmulator]:
    with VaultEmulator(tmp_path / "vault") as running:
        yield running


@pytest.fixture
def client(emulator: VaultEmulator) -> Any:
    client = emulator.client()
    client.create_vault(vaultName=VAULT)
    return client


# --- rules ---


@pytest.mark.parametrize("size", [0, 1, MIB - 1, MIB, MIB + 1, 2 * MIB, 3 * MIB, 5 * MIB + 7, 7 * MIB])
def test_the_tree_hash_is_botocores(size: int) -> None:
    data = some_bytes(size)
    assert tree_hash(data) == tree_of(data)


def test_a_range_is_tree_aligned_exactly_where_its_root_is_a_node_of_the_whole_tree() -> None:
    for count in range(1, 18):
        leaves = [hashlib.sha256(bytes([number])).digest() for number in range(count)]
        nodes = all_nodes(leaves)
        size = count * MIB - 5
        for p in range(count):
            for q in range(p + 1, count + 1):
                span = Span(p * MIB, min(q * MIB, size) - 1)
                assert is_tree_aligned(span, size) == (tree_root(leaves[p:q]) in nodes), (count, p, q)


def all_nodes(level: list[bytes]) -> set[bytes]:
    nodes = set(level)
    while len(level) > 1:
        level = [tree_root(level[i : i + 2]) for i in range(0, len(level), 2)]
        nodes |= set(level)
    return nodes


@pytest.mark.parametrize("size", [MIB, 2 * MIB, 64 * MIB, 4 * GIB])
def test_a_part_size_is_a_power_of_two_of_mebibytes(size: int) -> None:
    assert check_part_size(str(size)) == size


@pytest.mark.parametrize("text", ["0", "1", str(MIB - 1), str(3 * MIB), str(8 * GIB), "-1048576", "1e6", ""])
def test_other_part_sizes_are_refused(text: str) -> None:
    with pytest.raises(GlacierError, match="part size"):
        check_part_size(text)


def test_the_part_after_the_ten_thousandth_is_refused() -> None:
    check_part(Span(9_999 * MIB, 10_000 * MIB - 1), MIB, MIB)
    with pytest.raises(GlacierError, match="10000 parts"):
        check_part(Span(10_000 * MIB, 10_001 * MIB - 1), MIB, MIB)


# --- vaults ---


def test_creating_a_vault_twice_keeps_its_archives(emulator: VaultEmulator, client: Any) -> None:
    archive = upload(client)
    answer = client.create_vault(vaultName=VAULT)
    assert answer["location"] == f"/123456789012/vaults/{VAULT}"
    assert [entry["id"] for entry in emulator.archives()] == [archive]


def test_a_new_vault_is_described_without_an_inventory(client: Any) -> None:
    vault = client.describe_vault(vaultName=VAULT)
    assert vault["VaultARN"] == f"arn:aws:glacier:us-east-1:123456789012:vaults/{VAULT}"
    assert vault["VaultName"] == VAULT
    assert vault["CreationDate"].endswith("Z")
    assert not {"LastInventoryDate", "NumberOfArchives", "SizeInBytes"} & vault.keys()


def test_counts_of_a_vault_are_those_of_its_last_inventory(emulator: VaultEmulator, client: Any) -> None:
    upload(client, b"four")
    emulator.clock.advance(2 * DAY)
    upload(client, b"later")
    vault = client.describe_vault(vaultName=VAULT)
    assert (vault["NumberOfArchives"], vault["SizeInBytes"]) == (1, 4)
    emulator.clock.advance(2 * DAY)
    vault = client.describe_vault(vaultName=VAULT)
    assert (vault["NumberOfArchives"], vault["SizeInBytes"]) == (2, 9)


def test_vaults_are_listed_in_order_page_by_page(client: Any) -> None:
    names = sorted([VAULT, *(f"v{number:02}" for number in range(24))])
    for name in names:
        client.create_vault(vaultName=name)
    pages = list(client.get_paginator("list_vaults").paginate())
    assert [len(page["VaultList"]) for page in pages] == [10, 10, 5]
    assert [vault["VaultName"] for page in pages for vault in page["VaultList"]] == names


@pytest.mark.parametrize("name", ["a b", "x" * 256, "ü", "a@b"])
def test_a_bad_vault_name_is_refused(client: Any, name: str) -> None:
    assert refusal(client.create_vault, vaultName=name)[:2] == INVALID


def test_an_unknown_vault_is_not_found(client: Any) -> None:
    arn = "arn:aws:glacier:us-east-1:123456789012:vaults/none"
    with pytest.raises(client.exceptions.ResourceNotFoundException) as caught:
        client.describe_vault(vaultName="none")
    assert caught.value.response["Error"]["Message"] == f"Vault not found for ARN: {arn}"
    assert caught.value.response["code"] == "ResourceNotFoundException"
    assert caught.value.response["type"] == "Client"
    assert refusal(client.upload_archive, vaultName="none", body=b"x")[:2] == NOT_FOUND
    assert refusal(client.initiate_multipart_upload, vaultName="none", partSize=str(MIB))[:2] == NOT_FOUND
    assert refusal(client.delete_vault, vaultName="none")[:2] == NOT_FOUND
    assert refusal(client.list_jobs, vaultName="none")[:2] == NOT_FOUND


def test_an_empty_vault_can_be_deleted_and_deleted_again(client: Any) -> None:
    client.delete_vault(vaultName=VAULT)
    assert client.list_vaults()["VaultList"] == []
    client.delete_vault(vaultName=VAULT)
    client.create_vault(vaultName=VAULT)
    assert len(client.list_vaults()["VaultList"]) == 1


def test_a_vault_goes_only_when_empty_at_an_inventory_after_the_last_write(
    emulator: VaultEmulator, client: Any
) -> None:
    archive = upload(client)
    status, code, message = refusal(client.delete_vault, vaultName=VAULT)
    assert (status, code) == INVALID
    assert message.startswith("Vault not empty or recently written to: arn:")
    emulator.clock.advance(2 * DAY)
    assert refusal(client.delete_vault, vaultName=VAULT)[:2] == INVALID
    client.delete_archive(vaultName=VAULT, archiveId=archive)
    assert refusal(client.delete_vault, vaultName=VAULT)[:2] == INVALID
    emulator.clock.advance(2 * DAY)
    client.delete_vault(vaultName=VAULT)
    assert client.list_vaults()["VaultList"] == []


# --- single uploads ---


@pytest.mark.parametrize("size", [1, MIB, 3 * MIB + 1])
def test_an_upload_keeps_the_bytes_and_answers_with_the_tree_hash(
    emulator: VaultEmulator, client: Any, size: int
) -> None:
    data = some_bytes(size)
    answer = client.upload_archive(vaultName=VAULT, archiveDescription="sea ~ ", body=data)
    archive = answer["archiveId"]
    assert answer["checksum"] == tree_of(data)
    assert answer["location"] == f"/123456789012/vaults/{VAULT}/archives/{archive}"
    assert len(archive) == 138
    (entry,) = emulator.archives()
    assert entry == {
        "id": archive,
        "vault": VAULT,
        "description": "sea ~",  # HTTP drops spaces at the ends of a header
        "size": size,
        "tree_hash": tree_of(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "created": entry["created"],
    }
    assert emulator.read_archive(archive) == data


def test_the_same_bytes_twice_are_two_archives_and_some_ids_start_with_a_hyphen(
    emulator: VaultEmulator, client: Any
) -> None:
    ids = [upload(client) for _ in range(8)]
    assert len(set(ids)) == 8
    assert any(archive.startswith("-") for archive in ids)
    hyphen = next(archive for archive in ids if archive.startswith("-"))
    client.delete_archive(vaultName=VAULT, archiveId=hyphen)
    assert sorted(entry["id"] for entry in emulator.archives()) == sorted(set(ids) - {hyphen})


def test_a_wrong_tree_hash_is_refused(emulator: VaultEmulator, client: Any) -> None:
    call = client.upload_archive
    status, code, message = refusal(call, vaultName=VAULT, body=b"content", checksum=tree_of(b"other"))
    assert (status, code) == INVALID
    assert message == f"Checksum mismatch: expected {tree_of(b'other')} but was {tree_of(b'content')}"
    assert emulator.archives() == []
    assert no_stray_bytes(emulator)


def test_a_wrong_linear_hash_is_refused(emulator: VaultEmulator, client: Any) -> None:
    def spoil(params: dict[str, Any], **_: Any) -> None:
        params["headers"]["x-amz-content-sha256"] = "0" * 64

    client.meta.events.register("before-call.glacier.UploadArchive", spoil)
    assert refusal(client.upload_archive, vaultName=VAULT, body=b"content")[:2] == INVALID
    assert emulator.archives() == []


def test_a_linear_hash_in_place_of_a_tree_hash_is_refused_above_a_mebibyte(client: Any) -> None:
    data = some_bytes(2 * MIB)
    linear = hashlib.sha256(data).hexdigest()
    assert refusal(client.upload_archive, vaultName=VAULT, body=data, checksum=linear)[:2] == INVALID
    part = refusal(
        client.upload_multipart_part,
        vaultName=VAULT,
        uploadId=begin(client, 2 * MIB),
        range=f"bytes 0-{2 * MIB - 1}/*",
        body=data,
        checksum=linear,
    )
    assert part[:2] == INVALID


def test_an_empty_body_is_refused(client: Any) -> None:
    status, code, message = refusal(client.upload_archive, vaultName=VAULT, body=b"")
    assert (status, code) == INVALID
    assert message == "Invalid Content-Length: 0"


def test_more_than_four_gigabytes_in_one_request_are_refused(emulator: VaultEmulator, client: Any) -> None:
    status, body = raw(emulator, "POST", f"/-/vaults/{VAULT}/archives", {"Content-Length": str(4 * GIB + 1)})
    assert status == 400
    assert f"Invalid Content-Length: {4 * GIB + 1}" in body


def raw(emulator: VaultEmulator, method: str, path: str, headers: dict[str, str]) -> tuple[int, str]:
    """Send only the head of a request and return status and body of the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", emulator.port, timeout=10)
    common = {"x-amz-glacier-version": "2012-06-01", "Authorization": "AWS4-HMAC-SHA256"}
    connection.putrequest(method, path)
    for name, value in ({**common, **headers}).items():
        if value:
            connection.putheader(name, value)
    connection.endheaders()
    response = connection.getresponse()
    status, body = response.status, response.read().decode()
    connection.close()
    return status, body


def test_a_description_has_up_to_1024_printable_ascii_characters(emulator: VaultEmulator, client: Any) -> None:
    upload(client, description="x" * 1024)
    for bad in ("x" * 1025, "tab\tinside", "caf\u00e9"):
        assert refusal(client.upload_archive, vaultName=VAULT, archiveDescription=bad, body=b"x")[:2] == INVALID
        call = client.initiate_multipart_upload
        assert refusal(call, vaultName=VAULT, archiveDescription=bad, partSize=str(MIB))[:2] == INVALID
    assert len(emulator.archives()) == 1


def test_what_every_request_must_carry(emulator: VaultEmulator, client: Any) -> None:
    path = f"/-/vaults/{VAULT}"
    assert raw(emulator, "GET", path, {})[0] == 200
    assert "MissingParameterValueException" in raw(emulator, "GET", path, {"x-amz-glacier-version": ""})[1]
    assert "Invalid API version" in raw(emulator, "GET", path, {"x-amz-glacier-version": "2011-01-01"})[1]
    assert "MissingAuthenticationToken" in raw(emulator, "GET", path, {"Authorization": ""})[1]
    assert raw(emulator, "GET", f"/999999999999/vaults/{VAULT}", {})[0] == 403
    assert raw(emulator, "GET", f"/123456789012/vaults/{VAULT}", {})[0] == 200
    assert raw(emulator, "GET", f"/-/vaults/{VAULT}/nonsense", {})[0] == 400


def test_a_client_that_goes_away_leaves_nothing_behind(emulator: VaultEmulator, client: Any) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", emulator.port, timeout=10)
    connection.putrequest("POST", f"/-/vaults/{VAULT}/archives")
    for name, value in {
        "Content-Length": "1000",
        "Authorization": "x",
        "x-amz-glacier-version": "2012-06-01",
        "x-amz-content-sha256": "0" * 64,
        "x-amz-sha256-tree-hash": "0" * 64,
    }.items():
        connection.putheader(name, value)
    connection.endheaders(b"half of it")
    connection.close()
    assert eventually(lambda: no_stray_bytes(emulator))
    assert emulator.archives() == []


# --- deleting ---


def test_deleting_an_archive_twice_is_no_error_and_frees_its_bytes(emulator: VaultEmulator, client: Any) -> None:
    archive = upload(client)
    for _ in range(2):
        client.delete_archive(vaultName=VAULT, archiveId=archive)
    emulator.settle()
    assert emulator.archives() == []
    assert no_stray_bytes(emulator)


def test_an_archive_that_never_was_is_not_found(client: Any) -> None:
    call = client.delete_archive
    unknown = "x" * 138
    assert refusal(call, vaultName=VAULT, archiveId=unknown) == (
        *NOT_FOUND,
        f"The archive ID was not found: {unknown}",
    )


def test_an_archive_of_another_vault_gets_the_misleading_answer(client: Any) -> None:
    client.create_vault(vaultName="other")
    archive = upload(client)
    answer = refusal(client.delete_archive, vaultName="other", archiveId=archive)
    assert answer == (*INVALID, "Invalid vault name: other")


# --- multipart ---


def test_parts_in_any_order_make_one_archive(emulator: VaultEmulator, client: Any) -> None:
    data = some_bytes(5 * MIB + 123)
    upload_id = begin(client, 2 * MIB)
    for first in (4 * MIB, 0, 2 * MIB):
        part = data[first : first + 2 * MIB]
        assert send_part(client, upload_id, first, part) == tree_of(part)
    archive = complete(client, upload_id, data)
    assert len(archive) == 138
    assert emulator.read_archive(archive) == data
    assert emulator.archives()[0]["sha256"] == hashlib.sha256(data).hexdigest()
    assert emulator.archives()[0]["description"] == "a dump"


@pytest.mark.parametrize("part_size", ["0", str(3 * MIB), str(8 * GIB)])
def test_an_upload_with_a_wrong_part_size_is_refused(client: Any, part_size: str) -> None:
    call = client.initiate_multipart_upload
    assert refusal(call, vaultName=VAULT, partSize=part_size)[:2] == INVALID


def test_an_upload_without_a_part_size_is_refused(client: Any) -> None:
    answer = refusal(client.initiate_multipart_upload, vaultName=VAULT)
    assert answer[:2] == (400, "MissingParameterValueException")


@pytest.mark.parametrize(
    ("span", "size"),
    [
        (f"bytes {MIB // 2}-{MIB // 2 + 9}/*", 10),  # does not begin at a part
        (f"bytes 0-{2 * MIB - 1}/*", 2 * MIB),  # larger than the part size
        ("bytes 0-99/*", 10),  # not the length of the body
        ("bytes 0-9/10", 10),
        ("0-9", 10),
        ("bytes 9-0/*", 10),
    ],
)
def test_a_part_that_does_not_fit_is_refused(client: Any, span: str, size: int) -> None:
    upload_id = begin(client)
    call = client.upload_multipart_part
    assert refusal(call, vaultName=VAULT, uploadId=upload_id, range=span, body=b"x" * size)[:2] == INVALID
    assert client.list_parts(vaultName=VAULT, uploadId=upload_id)["Parts"] == []


def test_a_part_with_a_wrong_checksum_is_refused(emulator: VaultEmulator, client: Any) -> None:
    upload_id = begin(client)
    answer = refusal(
        client.upload_multipart_part,
        vaultName=VAULT,
        uploadId=upload_id,
        range="bytes 0-6/*",
        body=b"content",
        checksum=tree_of(b"other"),
    )
    assert answer[:2] == INVALID
    assert no_stray_bytes(emulator)


def no_stray_bytes(emulator: VaultEmulator) -> bool:
    return not list((emulator.directory / "bytes").glob("*/*"))


def test_the_same_part_again_replaces_the_first_one(emulator: VaultEmulator, client: Any) -> None:
    data = some_bytes(MIB + 10)
    upload_id = begin(client)
    send_part(client, upload_id, 0, some_bytes(MIB, seed=9))
    send_parts(client, upload_id, data)
    send_parts(client, upload_id, data)
    listed = client.list_parts(vaultName=VAULT, uploadId=upload_id)["Parts"]
    assert [part["RangeInBytes"] for part in listed] == [f"0-{MIB - 1}", f"{MIB}-{MIB + 9}"]
    assert emulator.read_archive(complete(client, upload_id, data)) == data
    assert len(list((emulator.directory / "bytes").glob("*/*"))) == 2


def test_a_gap_makes_complete_fail_and_leaves_the_upload_open(emulator: VaultEmulator, client: Any) -> None:
    data = some_bytes(3 * MIB)
    upload_id = begin(client)
    send_part(client, upload_id, 0, data[:MIB])
    send_part(client, upload_id, 2 * MIB, data[2 * MIB :])
    status, code, message = refusal(complete, client, upload_id, data)
    assert (status, code) == INVALID
    assert "Missing content range" in message
    send_part(client, upload_id, MIB, data[MIB : 2 * MIB])
    assert emulator.read_archive(complete(client, upload_id, data)) == data


def test_a_short_part_in_the_middle_is_taken_and_only_complete_fails(client: Any) -> None:
    data = some_bytes(MIB + 100)
    upload_id = begin(client)
    send_part(client, upload_id, 0, data[:100])
    send_part(client, upload_id, MIB, data[100 : MIB + 100])
    assert refusal(complete, client, upload_id, data)[:2] == INVALID


@pytest.mark.parametrize(("size", "checksum"), [("3", None), (None, "0" * 64), ("99", None), ("x", None)])
def test_complete_with_a_wrong_size_or_checksum_fails_and_may_be_repeated(
    emulator: VaultEmulator, client: Any, size: str | None, checksum: str | None
) -> None:
    data = b"content"
    upload_id = begin(client)
    send_part(client, upload_id, 0, data)
    answer = refusal(
        client.complete_multipart_upload,
        vaultName=VAULT,
        uploadId=upload_id,
        archiveSize=size or str(len(data)),
        checksum=checksum or tree_of(data),
    )
    assert answer[:2] == INVALID
    assert emulator.archives() == []
    assert emulator.read_archive(complete(client, upload_id, data)) == data


def test_complete_needs_size_and_checksum(client: Any) -> None:
    upload_id = begin(client)
    send_part(client, upload_id, 0, b"content")
    call = client.complete_multipart_upload
    absent = (400, "MissingParameterValueException")
    assert refusal(call, vaultName=VAULT, uploadId=upload_id, checksum=tree_of(b"content"))[:2] == absent
    assert refusal(call, vaultName=VAULT, uploadId=upload_id, archiveSize="7")[:2] == absent


def test_an_upload_without_parts_cannot_be_completed(client: Any) -> None:
    assert refusal(complete, client, begin(client), b"")[:2] == INVALID


def test_complete_again_returns_the_same_archive_for_a_short_period(emulator: VaultEmulator, client: Any) -> None:
    data = some_bytes(MIB + 1)
    upload_id = begin(client)
    send_parts(client, upload_id, data)
    archive = complete(client, upload_id, data)
    emulator.clock.advance(HOUR / 2)
    assert complete(client, upload_id, data) == archive
    assert len(emulator.archives()) == 1
    assert refusal(complete, client, upload_id, b"other")[:2] == INVALID
    emulator.clock.advance(HOUR)
    assert refusal(complete, client, upload_id, data)[:2] == NOT_FOUND
    assert len(emulator.archives()) == 1


def test_a_completed_upload_is_not_listed_nor_abortable(emulator: VaultEmulator, client: Any) -> None:
    upload_id = begin(client)
    send_part(client, upload_id, 0, b"content")
    complete(client, upload_id, b"content")
    assert client.list_multipart_uploads(vaultName=VAULT)["UploadsList"] == []
    assert refusal(client.list_parts, vaultName=VAULT, uploadId=upload_id)[:2] == NOT_FOUND
    assert refusal(client.abort_multipart_upload, vaultName=VAULT, uploadId=upload_id)[:2] == NOT_FOUND
    assert len(emulator.archives()) == 1


def test_abort_frees_the_parts_and_may_be_repeated(emulator: VaultEmulator, client: Any) -> None:
    upload_id = begin(client)
    send_part(client, upload_id, 0, b"content")
    for _ in range(2):
        client.abort_multipart_upload(vaultName=VAULT, uploadId=upload_id)
    assert no_stray_bytes(emulator)
    assert refusal(send_part, client, upload_id, 0, b"content")[:2] == NOT_FOUND
    assert refusal(complete, client, upload_id, b"content")[:2] == NOT_FOUND
    emulator.clock.advance(2 * HOUR)
    assert refusal(client.abort_multipart_upload, vaultName=VAULT, uploadId=upload_id)[:2] == NOT_FOUND


def test_an_unknown_upload_is_not_found(client: Any) -> None:
    expected = (*NOT_FOUND, "The upload ID was not found: nonsense")
    assert refusal(client.list_parts, vaultName=VAULT, uploadId="nonsense") == expected
    assert refusal(client.abort_multipart_upload, vaultName=VAULT, uploadId="nonsense") == expected
    assert refusal(send_part, client, "nonsense", 0, b"content") == expected


def test_an_upload_that_was_idle_for_a_day_is_gone(emulator: VaultEmulator, client: Any) -> None:
    upload_id = begin(client)
    emulator.clock.advance(DAY - HOUR)
    send_part(client, upload_id, 0, b"content")
    emulator.clock.advance(DAY - HOUR)
    assert len(client.list_parts(vaultName=VAULT, uploadId=upload_id)["Parts"]) == 1
    emulator.clock.advance(2 * HOUR)
    assert refusal(client.list_parts, vaultName=VAULT, uploadId=upload_id)[:2] == NOT_FOUND
    assert refusal(complete, client, upload_id, b"content")[:2] == NOT_FOUND
    assert client.list_multipart_uploads(vaultName=VAULT)["UploadsList"] == []
    assert no_stray_bytes(emulator)


def test_parts_are_listed_by_range_page_by_page(client: Any) -> None:
    upload_id = begin(client)
    parts = {first: bytes([first // MIB]) * 10 for first in range(0, 53 * MIB, MIB)}
    for first in reversed(parts):
        send_part(client, upload_id, first, parts[first])
    pages = list(client.get_paginator("list_parts").paginate(vaultName=VAULT, uploadId=upload_id))
    assert [len(page["Parts"]) for page in pages] == [50, 3]
    assert [part for page in pages for part in page["Parts"]] == [
        {"RangeInBytes": f"{first}-{first + 9}", "SHA256TreeHash": tree_of(data)} for first, data in parts.items()
    ]
    head = {key: pages[0][key] for key in ("ArchiveDescription", "MultipartUploadId", "PartSizeInBytes")}
    assert head == {"ArchiveDescription": "a dump", "MultipartUploadId": upload_id, "PartSizeInBytes": MIB}
    small = client.list_parts(vaultName=VAULT, uploadId=upload_id, limit="2")
    assert len(small["Parts"]) == 2
    second = client.list_parts(vaultName=VAULT, uploadId=upload_id, limit="2", marker=small["Marker"])
    assert second["Parts"][0]["RangeInBytes"] == f"{2 * MIB}-{2 * MIB + 9}"


def test_uploads_are_listed_with_their_descriptions_page_by_page(client: Any) -> None:
    uploads = {begin(client, description=f"run {number}"): f"run {number}" for number in range(5)}
    first = client.list_multipart_uploads(vaultName=VAULT, limit="3")
    second = client.list_multipart_uploads(vaultName=VAULT, limit="3", marker=first["Marker"])
    assert "Marker" not in second
    listed = first["UploadsList"] + second["UploadsList"]
    assert {entry["MultipartUploadId"]: entry["ArchiveDescription"] for entry in listed} == uploads
    assert {entry["PartSizeInBytes"] for entry in listed} == {MIB}


@pytest.mark.parametrize("options", [{"limit": "0"}, {"limit": "1001"}, {"limit": "x"}, {"marker": "nonsense"}])
def test_a_bad_limit_or_marker_is_refused(client: Any, options: dict[str, str]) -> None:
    upload_id = begin(client)
    assert refusal(client.list_multipart_uploads, vaultName=VAULT, **options)[:2] == INVALID
    assert refusal(client.list_parts, vaultName=VAULT, uploadId=upload_id, **options)[:2] == INVALID
    assert refusal(client.list_jobs, vaultName=VAULT, **options)[:2] == INVALID


# --- the small operations ---


def test_tags_are_added_listed_and_removed(client: Any) -> None:
    client.add_tags_to_vault(vaultName=VAULT, Tags={"team": "sea", "env": "test"})
    client.remove_tags_from_vault(vaultName=VAULT, TagKeys=["env"])
    assert client.list_tags_for_vault(vaultName=VAULT)["Tags"] == {"team": "sea"}
    many = {f"t{number}": "x" for number in range(50)}
    with pytest.raises(client.exceptions.LimitExceededException):
        client.add_tags_to_vault(vaultName=VAULT, Tags=many)


DENY_YOUNG = (
    '{"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Principal": "*", "Action": "glacier:DeleteArchive", '
    '"Condition": {"NumericLessThan": {"glacier:ArchiveAgeInDays": "30"}}}]}'
)


def test_a_vault_lock_denies_to_delete_young_archives(emulator: VaultEmulator, client: Any) -> None:
    archive = upload(client)
    lock = client.initiate_vault_lock(vaultName=VAULT, policy={"Policy": DENY_YOUNG})["lockId"]
    assert client.get_vault_lock(vaultName=VAULT)["State"] == "InProgress"
    client.complete_vault_lock(vaultName=VAULT, lockId=lock)
    assert client.get_vault_lock(vaultName=VAULT)["State"] == "Locked"
    assert refusal(client.abort_vault_lock, vaultName=VAULT)[:2] == INVALID
    answer = refusal(client.delete_archive, vaultName=VAULT, archiveId=archive)
    assert answer[:2] == (403, "AccessDeniedException")
    emulator.clock.advance(31 * DAY)
    client.delete_archive(vaultName=VAULT, archiveId=archive)
    assert emulator.archives() == []


def test_a_lock_that_is_not_completed_within_a_day_vanishes(emulator: VaultEmulator, client: Any) -> None:
    lock = client.initiate_vault_lock(vaultName=VAULT, policy={"Policy": DENY_YOUNG})["lockId"]
    emulator.clock.advance(DAY + 1)
    assert refusal(client.complete_vault_lock, vaultName=VAULT, lockId=lock)[:2] == NOT_FOUND
    assert refusal(client.get_vault_lock, vaultName=VAULT)[:2] == NOT_FOUND


def test_an_access_policy_is_set_read_obeyed_and_removed(client: Any) -> None:
    policy = '{"Statement": {"Effect": "Deny", "Action": ["glacier:DeleteArchive"]}}'
    archive = upload(client)
    assert refusal(client.get_vault_access_policy, vaultName=VAULT)[:2] == NOT_FOUND
    client.set_vault_access_policy(vaultName=VAULT, policy={"Policy": policy})
    assert client.get_vault_access_policy(vaultName=VAULT)["policy"] == {"Policy": policy}
    with pytest.raises(ClientError, match="AccessDenied"):
        client.delete_archive(vaultName=VAULT, archiveId=archive)
    client.delete_vault_access_policy(vaultName=VAULT)
    client.delete_archive(vaultName=VAULT, archiveId=archive)


def test_capacity_can_be_bought_twice(client: Any) -> None:
    bought = [client.purchase_provisioned_capacity()["capacityId"] for _ in range(2)]
    listed = client.list_provisioned_capacity()["ProvisionedCapacityList"]
    assert [unit["CapacityId"] for unit in listed] == bought
    assert refusal(client.purchase_provisioned_capacity)[:2] == (400, "LimitExceededException")


def test_an_account_without_archives_can_be_closed(tmp_path: Path) -> None:
    with VaultEmulator(tmp_path, closed_when_empty=True) as emulator:
        client = emulator.client()
        with pytest.raises(client.exceptions.NoLongerSupportedException):
            client.list_vaults()


def test_requests_are_counted_by_operation(emulator: VaultEmulator, client: Any) -> None:
    upload(client)
    refusal(client.upload_archive, vaultName="none", body=b"x")
    assert emulator.requests() == {
        "CreateVault": {"received": 1, "succeeded": 1},
        "UploadArchive": {"received": 2, "succeeded": 1},
    }
    assert emulator.count("UploadArchive") == 2
    assert emulator.count("DeleteVault") == 0


# --- the service model, and many clients ---


def test_every_operation_of_the_service_model_has_its_route(client: Any) -> None:
    model = client.meta.service_model
    for name in model.operation_names:
        http = model.operation_model(name).http
        names = {"accountId": "-", "vaultName": VAULT, "uploadId": "u", "archiveId": "a", "jobId": "j", "lockId": "l"}
        operation, segments, _ = parse_route(http["method"], http["requestUri"].format(**names))
        assert (operation, segments[0]) == (name, "-")


def test_answers_have_the_status_codes_of_the_service_model(emulator: VaultEmulator, client: Any) -> None:
    statuses: dict[str, set[int]] = {}

    def note(model: Any, http_response: Any, **_: Any) -> None:
        statuses.setdefault(model.name, set()).add(http_response.status_code)

    client.meta.events.register("after-call.glacier", note)
    client.create_vault(vaultName=VAULT)
    archive = upload(client)
    upload_id = begin(client)
    send_part(client, upload_id, 0, b"content")
    complete(client, upload_id, b"content")
    client.abort_multipart_upload(vaultName=VAULT, uploadId=begin(client))
    client.initiate_job(vaultName=VAULT, jobParameters={"Type": "archive-retrieval", "ArchiveId": archive})
    client.delete_archive(vaultName=VAULT, archiveId=archive)
    client.add_tags_to_vault(vaultName=VAULT, Tags={"a": "b"})
    client.purchase_provisioned_capacity()
    client.list_vaults()
    model = client.meta.service_model
    assert len(statuses) == 11
    assert statuses == {name: {model.operation_model(name).http.get("responseCode", 200)} for name in statuses}


def test_many_clients_at_once_lose_nothing(emulator: VaultEmulator, client: Any) -> None:
    contents = [f"file {number}".encode() for number in range(120)]
    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(lambda content: upload(client, content, content.decode()), contents))
    assert len(set(ids)) == len(contents)
    stored = {entry["id"]: (entry["description"], entry["sha256"]) for entry in emulator.archives()}
    assert stored == {
        archive: (content.decode(), hashlib.sha256(content).hexdigest())
        for archive, content in zip(ids, contents, strict=True)
    }


def test_completing_at_once_from_many_threads_makes_one_archive(emulator: VaultEmulator, client: Any) -> None:
    upload_id = begin(client)
    send_part(client, upload_id, 0, b"content")
    with ThreadPoolExecutor(6) as pool:
        ids = set(pool.map(lambda _: complete(client, upload_id, b"content"), range(12)))
    assert [entry["id"] for entry in emulator.archives()] == list(ids)
