"""A million archives: listed part by part, and verified by one job, with nothing retrieved."""

from __future__ import annotations

import hashlib
import re
import resource
import time
from typing import Any

import pytest

from tests.emulator.s3 import S3Emulator
from tests.emulator.s3_requests import Answer, S3Request, xml_answer
from tests.integration.test_lost import in_catalog
from tests.integration.test_verification import found
from tests.integration.test_verified_content import Verified
from tests.support.application import ApplicationUnderTest

ARCHIVES = 1_000_000
CORRUPT = (17, 500_000, 999_999)
SIZE = 1000

INSERT = """
INSERT INTO application_data_backups (application_id, state, dag_id, dag_run_id, opened_at)
SELECT id, 'failed', 'd', 'r', now() - interval '1 year' FROM applications;
SET session_replication_role = replica;
INSERT INTO glacier_archives (id, application_id, backup_id, kind, filename, original_size, stored_size, sha256,
                              checksum, store_uri, key, state, retrieval_status, archived_at)
SELECT n, a.id, b.id, 'file', 'f' || n || '.pdf', {size}, {size}, NULL,
       'sha256:' || encode(sha256(convert_to('f' || n || '.pdf', 'UTF8')), 'hex'), '{store}',
       'pre/dms/files/' || lpad((n / 1000)::text, 9, '0') || '/' || lpad(n::text, 12, '0') || '-f' || n || '.pdf',
       'archived', 'available', now() - interval '200 days'
  FROM generate_series(1, {archives}) AS n, applications a, application_data_backups b;
INSERT INTO backup_files (application_id, archive_id, first_backup_id)
SELECT application_id, id, backup_id FROM glacier_archives;
SET session_replication_role = origin;
SELECT rebuild_counts();
ANALYZE;
"""


def number_of_key(key: str) -> int:
    return int(re.search(r"/(\d{12})-", key).group(1))  # type: ignore[union-attr]


def key_of_number(number: int) -> str:
    return f"pre/dms/files/{number // 1000:09d}/{number:012d}-f{number}.pdf"


def generated(s3: S3Emulator, bucket: str, archives: int) -> None:
    """Have a bucket list so many objects that are not there, and S3 compute checksums of them."""
    theirs = s3.objects._list_objects_v2

    def listing(request: S3Request, ask_moto: Any) -> Answer:
        if request.bucket != bucket or ".glacier-batch" in request.query.get("prefix", ""):
            return theirs(request, ask_moto)
        after = request.query.get("start-after") or bytes.fromhex(request.query.get("continuation-token", "")).decode()
        first = number_of_key(after) + 1 if after else 1
        page = range(first, min(first + 1000, archives + 1))
        contents = [
            {
                "Key": key_of_number(number),
                "LastModified": "2026-01-01T00:00:00.000Z",
                "Size": SIZE,
                "StorageClass": "GLACIER",
            }
            for number in page
        ]
        more = first + 1000 <= archives
        token = contents[-1]["Key"].encode().hex() if more else None  # type: ignore[union-attr]
        return xml_answer(
            "ListBucketResult", {"IsTruncated": more, "NextContinuationToken": token, "Contents": contents}
        )

    def digest(_bucket: str, key: str, _kind: str) -> bytes:
        number = number_of_key(key)
        return hashlib.sha256(b"rotten" if number in CORRUPT else f"f{number}.pdf".encode()).digest()

    s3.objects._list_objects_v2 = listing  # type: ignore[method-assign]
    s3.batch.digest_of = digest


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_a_million_archives_are_verified_by_one_job(dms: ApplicationUnderTest) -> None:
    with S3Emulator() as s3:
        dms.s3 = s3
        dms.catalog.migrate()
        assert dms.catalog.backups.application_id == 1
        in_catalog(dms, INSERT.format(size=SIZE, archives=ARCHIVES, store=dms.stores(dms.application.store).uri))
        generated(s3, dms.bucket, ARCHIVES)
        verified = Verified(dms)
        proof_id = verified.open()
        seconds: dict[str, float] = {}

        def timed(name: str, step: Any) -> None:
            begun, cpu = time.monotonic(), time.process_time()
            step(proof_id)
            seconds[name] = round(time.monotonic() - begun, 1)
            print(f"\n{name}: {seconds[name]} s, of this process {time.process_time() - cpu:.1f} s", flush=True)

        timed("request", verified.request)
        timed("wait", verified.wait)  # the emulated S3's own work
        timed("read", verified.read)
        timed("listing", verified.listing)
        closed = verified.close(proof_id)
        rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(f"\n{seconds} {rss} MB {closed['figures']}")
        assert closed["figures"]["listing"]["listed"] == ARCHIVES
        assert (closed["figures"]["content"]["jobs"], s3.count("CreateJob")) == (1, 1)
        names = [f"f{number}.pdf (backup 1)" for number in CORRUPT]
        assert found(closed) == {"lost": (3, names)}
        assert closed["figures"]["content"]["matched"] == ARCHIVES - 3
        assert s3.count("RestoreObject") == s3.batch.restored == 0
        assert verified.left() == []
