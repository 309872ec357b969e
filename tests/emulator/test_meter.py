"""The meter, against bills that AWS works out in its own documents."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.emulator.meter import DAY, GB, MONTH, Kept, S3Meter
from tests.emulator.s3 import S3Emulator

BUCKET = "metered"
COLD = {"StorageClass": "GLACIER"}


@pytest.fixture
def s3() -> Iterator[S3Emulator]:
    with S3Emulator(retrieval_seconds={"Expedited": 60, "Standard": 5 * 3600, "Bulk": 12 * 3600}) as emulator:
        emulator.clock.set_speed(0)
        emulator.create_bucket(BUCKET)
        emulator.meter = S3Meter()
        yield emulator


def put(s3: S3Emulator, key: str = "one", **options: Any) -> float:
    s3.client().put_object(Bucket=BUCKET, Key=key, Body=b"x" * 1000, **options)
    return s3.clock.timestamp()


def test_ten_kb_in_deep_archive_cost_what_the_pricing_calculator_says() -> None:
    """100 GB in objects of 10 KB: 0.099 + 0.3168 for 32 KB each + 1.84 for 8 KB each."""
    assert Kept("DEEP_ARCHIVE", 10 * 1024, 0).month() * 10_485_760 == pytest.approx(2.2558, abs=0.0001)


def test_a_gb_deleted_after_a_month_is_billed_for_the_other_two() -> None:
    """The AWS FAQ, at 0.0036 a GB."""
    assert Kept("GLACIER", GB, 0, MONTH).early() == pytest.approx(2 * 0.0036, rel=0.0001)
    assert Kept("GLACIER_IR", 1, 0, 90 * DAY).early() == 0


def test_replacing_an_object_ends_it_early(s3: S3Emulator) -> None:
    begun = put(s3, **COLD)
    s3.clock.advance(30 * DAY)
    again = put(s3, **COLD)
    assert s3.meter is not None
    bill = s3.meter.bill(begun, again + 1)
    assert bill.early == pytest.approx(2 * (1000 + 32 * 1024) / GB * 0.0036)
    assert bill.uploads == pytest.approx(2 * 3e-5)


def test_a_retrieval_is_billed_once_and_its_copy_until_it_ends(s3: S3Emulator) -> None:
    begun = put(s3, **COLD)
    s3.client().restore_object(
        Bucket=BUCKET, Key="one", RestoreRequest={"Days": 1, "GlacierJobParameters": {"Tier": "Bulk"}}
    )
    s3.clock.advance(3600)
    faster = {"Days": 1, "GlacierJobParameters": {"Tier": "Standard"}}
    s3.client().restore_object(Bucket=BUCKET, Key="one", RestoreRequest=faster)
    assert s3.meter is not None
    bill = s3.meter.bill(begun, begun + 10 * DAY)
    assert bill.retrieval == pytest.approx(5e-5 + 1000 / GB * 0.01), (
        "the faster tier is billed as well, Bulk has no price"
    )
    key = s3.objects.key(BUCKET, "one")
    kept = key.thaw.expires_at - key.thaw.ready_at
    assert bill.copies == pytest.approx(kept / MONTH * 1000 / GB * 0.023), "one copy, not two"


def test_of_an_upload_in_parts_only_the_end_is_billed_as_its_class(s3: S3Emulator) -> None:
    client, place = s3.client(), {"Bucket": BUCKET, "Key": "large"}
    upload = client.create_multipart_upload(**place, **COLD)["UploadId"]
    tags = [
        client.upload_part(**place, UploadId=upload, PartNumber=number, Body=body)["ETag"]
        for number, body in ((1, b"x" * 5 * 2**20), (2, b"y"))
    ]
    parts = [{"ETag": tag, "PartNumber": number} for number, tag in enumerate(tags, 1)]
    client.complete_multipart_upload(**place, UploadId=upload, MultipartUpload={"Parts": parts})
    assert s3.meter is not None
    assert s3.meter.bill(0, s3.clock.timestamp() + 1).uploads == pytest.approx(3 * 5e-6 + 3e-5)
    assert [one.size for one in s3.meter.kept] == [5 * 2**20 + 1]
