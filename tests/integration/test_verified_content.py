"""S3 computes the checksums of what sleeps there, and what is not as it was written is lost: nothing is retrieved."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import pytest

from glacier_provider.applications.fields import VerifyOptions
from glacier_provider.core.proof import ProofKind
from glacier_provider.core.store_uri import S3Uri, parse_store_uri
from glacier_provider.errors import ProofFailed, StoreDenied, StoreUnavailable
from glacier_provider.pipelines import verify
from glacier_provider.pipelines.evidence import evidence_in_stores
from glacier_provider.pipelines.reconcile import reconcile
from glacier_provider.stores import client_config
from glacier_provider.stores.s3.batch import BatchAccess, BatchOperations, control_client_config, reached_by_address
from tests.integration.test_lost import age, in_catalog, key_of, remove, states
from tests.integration.test_rebuild import lose_the_catalog, rebuild
from tests.integration.test_verification import found
from tests.support.application import ApplicationUnderTest

ROLE = "arn:aws:iam::123456789012:role/glacier-verify"


class Killed(BaseException):
    """The process ends here."""


class Verified:
    """An application whose content is verified step by step, as the DAG does."""

    def __init__(self, app: ApplicationUnderTest) -> None:
        self.app = app
        app.configure(verify=VerifyOptions(by="content", role_arn=ROLE))
        self.requests = app.s3.counts().get("CreateJob", 0)

    def batch(self, uri: str) -> BatchOperations:
        parsed = parse_store_uri(uri)
        assert isinstance(parsed, S3Uri)
        control = self.app.s3.client("s3control", config=control_client_config("us-east-1"))
        client = self.app.s3.client(config=client_config(uri))
        access = BatchAccess("123456789012", ROLE, ".glacier-batch/dms")
        return BatchOperations(parsed, client=client, control=reached_by_address(control), access=access)

    def open(self) -> int:
        return verify.open_verification(self.app.application, catalog=self.app.catalog, method="content")

    def listing(self, proof_id: int) -> None:
        verify.verify_listing(self.app.application, proof_id, catalog=self.app.catalog, stores=self.app.stores)

    def request(self, proof_id: int, *, everything: bool = True) -> list[int]:
        before = verify.due_before(self.app.application, everything=everything)
        return verify.request_checksums(
            self.app.application, proof_id, catalog=self.app.catalog, batches=self.batch, before=before
        )

    def wait(self, proof_id: int) -> None:
        self.app.s3.clock.advance(60)
        polled = verify.poll_checksums(self.app.application, proof_id, catalog=self.app.catalog, batches=self.batch)
        assert polled.done

    def read(self, proof_id: int) -> verify.Checking:
        return verify.read_checksums(
            self.app.application,
            proof_id,
            catalog=self.app.catalog,
            batches=self.batch,
            stores=self.app.stores,
        )

    def close(self, proof_id: int) -> dict[str, Any]:
        return verify.close_verification(
            self.app.application, proof_id, catalog=self.app.catalog, stores=self.app.stores
        )

    def run_listing(self) -> int:
        """Verify by listing up to the last step; return the id."""
        proof_id = verify.open_verification(self.app.application, catalog=self.app.catalog, method="listing")
        self.listing(proof_id)
        return proof_id

    def run(self) -> dict[str, Any]:
        proof_id = self.open()
        self.listing(proof_id)
        self.request(proof_id)
        self.wait(proof_id)
        self.read(proof_id)
        return self.close(proof_id)

    def corrupt(self, name: str, content: bytes) -> None:
        """The bytes of an archive rot where they lie; S3 tells the same of it as before."""
        self.app.s3.objects.key(self.app.bucket, key_of(self.app, name)).value = content

    def left(self) -> list[str]:
        """What jobs left in the store."""
        return [key for key in self.app.keys_in_store() if ".glacier-batch" in key]

    @property
    def created(self) -> int:
        return self.app.s3.counts().get("CreateJob", 0) - self.requests

    def jobs(self) -> int:
        return len([job for job in self.app.s3.batch.jobs() if self.app.bucket in str(job.request)])


@pytest.fixture
def verified(dms: ApplicationUnderTest) -> Iterator[Verified]:
    dms.configure(settle_seconds=0, part_size_mib=8)
    dms.write("large.bin", b"x" * (9 * 2**20))
    dms.back_up()
    age(dms)
    yield Verified(dms)
    dms.s3.plan.clear()
    dms.s3.batch.refused_roles.clear()


def test_everything_is_verified_where_it_lies_and_nothing_is_retrieved(verified: Verified) -> None:
    app = verified.app
    retrieved, by_jobs = app.s3.count("RestoreObject", bucket=app.bucket), app.s3.batch.restored
    closed = verified.run()
    assert (closed["state"], found(closed)) == ("passed", {}), closed["lines"]
    content = closed["figures"]["content"]
    assert (content["jobs"], content["asked"], content["matched"]) == (2, 6, 6), "whole ones and one in parts"
    assert "USD by the prices of us-east-1" in content["estimate"]
    assert app.s3.count("RestoreObject", bucket=app.bucket) == retrieved
    assert app.s3.batch.restored == by_jobs
    assert verified.left() == []
    assert in_catalog(app, "SELECT count(*) FROM verified_archives") == [(6,)]


def test_a_corrupt_archive_is_lost_and_named_with_its_backups(verified: Verified) -> None:
    verified.corrupt("doc2.pdf", b"content Z")
    closed = verified.run()
    assert closed["state"] == "found"
    assert found(closed) == {"lost": (1, ["doc2.pdf (backup 1)"])}
    assert states(verified.app, "doc2.pdf") == ["lost"]
    ((how,),) = in_catalog(verified.app, "SELECT lost_how FROM glacier_archives WHERE state = 'lost'")
    assert "S3 computed another checksum of it" in how
    key = in_catalog(verified.app, "SELECT key FROM glacier_archives WHERE state = 'lost'")[0][0]
    verified.app.s3.objects.key(verified.app.bucket, key).last_modified -= timedelta(days=1)
    again = verified.run()
    assert (again["state"], list(found(again))) == ("passed", ["lost_before"]), "that it is listed does not count"
    reconcile(verified.app.application, catalog=verified.app.catalog, stores=verified.app.stores, everything=True)
    assert states(verified.app, "doc2.pdf") == ["lost"], "it is not taken back"
    lose_the_catalog(verified.app)
    rebuild(verified.app)
    assert states(verified.app, "doc2.pdf") == ["lost"], "evidence tells a rebuild of it"
    verified.app.back_up()
    assert states(verified.app, "doc2.pdf") == ["lost", "archived"], "it is archived anew"


def test_a_verification_that_asked_for_no_checksum_has_not_passed(verified: Verified) -> None:
    proof_id = verified.open()
    verified.listing(proof_id)
    closed = verified.close(proof_id)
    assert closed["state"] == "failed"
    assert closed["error"].startswith("S3 has not told all checksums yet")


def test_what_was_verified_is_not_due_again_before_its_days_are_over(verified: Verified) -> None:
    verified.run()
    proof_id = verified.open()
    assert verified.request(proof_id, everything=False) == []
    in_catalog(verified.app, "UPDATE glacier_archives SET archived_at = archived_at - interval '200 days'")
    assert verified.request(proof_id, everything=False) == [], "verified since"
    in_catalog(verified.app, "UPDATE verified_archives SET verified_at = verified_at - interval '100 days'")
    assert len(verified.request(proof_id, everything=False)) == 2


def test_too_many_other_checksums_are_not_believed(verified: Verified) -> None:
    verified.app.s3.plan.inject("BatchJob", "wrong_report")
    closed = verified.run()
    assert "doubtful" in found(closed)
    assert "lost" not in found(closed)
    assert in_catalog(verified.app, "SELECT 1 FROM glacier_archives WHERE state = 'lost'") == []


def test_a_checksum_of_another_kind_than_was_asked_for_proves_nothing(
    verified: Verified, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That of a whole object is not that of its parts: nothing is called lost by it, and nothing verified."""
    results = BatchOperations.results

    def otherwise(self: BatchOperations, token: str, job_id: str, *, most: int) -> Any:
        return (replace(one, kind="ANOTHER") for one in results(self, token, job_id, most=most) or ())

    monkeypatch.setattr(BatchOperations, "results", otherwise)
    closed = verified.run()
    assert (closed["state"], set(found(closed))) == ("failed", {"not_computed"})
    assert in_catalog(verified.app, "SELECT 1 FROM verified_archives") == []


def test_what_a_whole_report_says_nothing_of_is_not_verified(
    verified: Verified, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = BatchOperations.results

    def fewer(self: BatchOperations, token: str, job_id: str, *, most: int) -> Any:
        return islice(results(self, token, job_id, most=most) or (), 1, None)

    monkeypatch.setattr(BatchOperations, "results", fewer)
    closed = verified.run()
    assert (closed["state"], {what: count for what, (count, _) in found(closed).items()}) == ("failed", {"not_told": 1})


def test_an_archive_that_s3_does_not_find_is_looked_for_before_it_is_lost(verified: Verified) -> None:
    proof_id = verified.open()
    verified.listing(proof_id)
    verified.request(proof_id)
    key = key_of(verified.app, "doc1.pdf")
    remove(verified.app, "doc1.pdf")
    verified.wait(proof_id)
    verified.app.s3.client().put_object(Bucket=verified.app.bucket, Key=key, Body=b"content 1", StorageClass="GLACIER")
    verified.read(proof_id)
    assert states(verified.app, "doc1.pdf") == ["archived"], "it is there after all"
    closed = verified.close(proof_id)
    assert closed["figures"]["content"]["gone"] == 1
    remove(verified.app, "doc1.pdf")
    again = verified.open()
    verified.request(again)
    verified.wait(again)
    verified.read(again)
    assert states(verified.app, "doc1.pdf") == ["lost"]


@pytest.mark.parametrize(
    ("kind", "what", "words"),
    [
        ("fail_job", "job_failed", "InternalError: The job failed"),
        ("half_job", "not_told", "tells nothing of"),
        ("cut_report", "job_failed", "cannot be used"),
        ("lose_report", "job_failed", "left no report"),
    ],
)
def test_a_job_that_goes_wrong_fails_the_verification_and_leaves_nothing(
    verified: Verified, kind: str, what: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("glacier_provider.pipelines.verify.content.REPORT_DELAY", timedelta(days=-9999))
    verified.app.s3.plan.inject("BatchJob", kind)
    closed = verified.run()
    assert closed["state"] == "failed"
    assert what in found(closed)
    assert any(words in line for line in closed["lines"]), closed["lines"]
    assert verified.left() == []
    assert in_catalog(verified.app, "SELECT 1 FROM glacier_archives WHERE state = 'lost'") == []
    verified.app.s3.plan.clear()
    assert verified.run()["state"] == "passed", "the next one asks anew"


def test_a_role_that_may_not_says_so(verified: Verified) -> None:
    verified.app.s3.batch.refused_roles.add(ROLE)
    closed = verified.run()
    assert closed["state"] == "failed"
    assert any("AccessDenied" in line and "docs/operations.md" in line for line in closed["lines"])
    assert verified.left() == []


def test_a_job_that_aws_refuses_is_a_clear_error_and_asked_for_again_with_the_same_token(verified: Verified) -> None:
    verified.app.s3.plan.inject("CreateJob", "access_denied", count=1)
    proof_id = verified.open()
    with pytest.raises(StoreDenied, match="s3:CreateJob on the account 123456789012"):
        verified.request(proof_id)
    before = in_catalog(verified.app, "SELECT token, state FROM batch_jobs ORDER BY id")
    assert [state for _, state in before] == ["planned", "planned"]
    verified.request(proof_id)
    assert [row[0] for row in in_catalog(verified.app, "SELECT token FROM batch_jobs ORDER BY id")] == [
        token for token, _ in before
    ]
    verified.wait(proof_id)
    verified.read(proof_id)
    assert verified.left() == []


def test_a_person_cancels_a_job_and_what_it_told_counts(verified: Verified) -> None:
    verified.app.s3.batch.seconds["Active"] = 3600.0
    try:
        proof_id = verified.open()
        verified.listing(proof_id)
        verified.request(proof_id)
        verified.app.s3.clock.advance(1)
        control = verified.app.s3.client("s3control")
        for (job_id,) in in_catalog(verified.app, "SELECT job_id FROM batch_jobs"):
            control.update_job_status(
                AccountId="123456789012", JobId=job_id, RequestedJobStatus="Cancelled", StatusUpdateReason="too dear"
            )
    finally:
        verified.app.s3.batch.seconds["Active"] = 0.2
    verified.wait(proof_id)
    verified.read(proof_id)
    closed = verified.close(proof_id)
    assert closed["state"] == "failed"
    assert any("is Cancelled: too dear" in line for line in closed["lines"])
    assert verified.left() == []


def test_a_job_that_waits_for_a_person_says_so_and_is_gone_on_with(verified: Verified) -> None:
    """Nobody but a person at S3's console brings a job there, and nobody else back."""
    app = verified.app
    proof_id = verified.open()
    verified.listing(proof_id)
    verified.request(proof_id)
    first, second = [job for job in app.s3.batch.jobs() if app.bucket in str(job.request)]
    first.status, second.status = "Paused", "Suspended"
    app.s3.clock.advance(60)
    told = verify.poll_checksums(app.application, proof_id, catalog=app.catalog, batches=verified.batch)
    assert (told.pending, told.done) == (2, False)
    assert set(told.stopped) == {
        f"the job {first.id} is paused",
        f"the job {second.id} waits for a person to confirm it",
    }
    closed = verified.close(proof_id)
    assert closed["state"] == "failed"
    assert f"the job {first.id} is paused" in closed["error"]
    assert "see S3's console" in closed["error"]
    first.status = second.status = "New"
    closed = verified.run()
    assert (closed["state"], verified.jobs(), verified.left()) == ("passed", 2, [])


def test_a_manifest_of_any_size_is_one_object(verified: Verified, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("glacier_provider.stores.s3.batch._PIECE", 6 * 2**20)
    batch = verified.batch(verified.app.application.store)
    keys = [f"pre/dms/files/{number:0900d}%20" for number in range(8000)]
    etag, count = batch.write_manifest("token", iter(keys))
    found = verified.app.s3.objects.key(verified.app.bucket, f"{batch.folder('token')}manifest.csv")
    lines = found.value.decode().splitlines()
    assert (count, found.etag.strip('"'), "-2" in etag) == (8000, etag, True)
    assert lines[7] == f"{verified.app.bucket},{keys[7].replace('%', '%25')}"
    assert batch.clear("token") == []
    assert verified.left() == []


def test_a_job_is_found_by_its_own_token_and_what_a_process_left_of_a_manifest_goes_with_it(verified: Verified) -> None:
    verified.run()
    app, batch = verified.app, verified.batch(verified.app.application.store)
    jobs = in_catalog(app, "SELECT token, job_id FROM batch_jobs ORDER BY id")
    assert len(jobs) == 2
    assert [(token, batch.find(token)) for token, _ in jobs] == jobs
    assert batch.find("of nobody") is None
    token = jobs[0][0]
    app.s3.client().create_multipart_upload(Bucket=app.bucket, Key=f"{batch.folder(token)}manifest.csv")
    assert batch.clear(token) == []
    assert app.s3.client().list_multipart_uploads(Bucket=app.bucket).get("Uploads", []) == []


def test_a_budget_is_kept(verified: Verified) -> None:
    verified.app.configure(verify=VerifyOptions(by="content", role_arn=ROLE, budget=0.4))
    with pytest.raises(ProofFailed, match=r"2 jobs for 6 archives .* 0.50 USD .* verify.budget is 0.4"):
        verified.request(verified.open())
    assert verified.created == 0
    assert verified.left() == []


def test_a_reply_that_was_lost_is_the_same_job(verified: Verified) -> None:
    verified.app.s3.plan.inject("CreateJob", "reset_after", count=1)
    verified.request(verified.open())
    assert verified.jobs() == 2


#: Where a process dies: the name of what is not done any more, and from which call on.
STEPS = [
    ("glacier_provider.catalog.batch.Batch.plan", 1),
    ("glacier_provider.stores.s3.batch.BatchOperations.write_manifest", 1),
    ("glacier_provider.catalog.batch.Batch.manifest_written", 1),
    ("glacier_provider.stores.s3.batch.BatchOperations.create", 1),
    ("glacier_provider.catalog.batch.Batch.created", 1),
    ("glacier_provider.catalog.batch.Batch.created", 2),
    ("glacier_provider.catalog.batch.Batch.compare", 1),
    ("glacier_provider.catalog.lost.Lost.note", 1),
    ("glacier_provider.catalog.batch.Batch.read", 1),
    ("glacier_provider.catalog.batch.Batch.read", 2),
    ("glacier_provider.stores.s3.batch.BatchOperations.clear", 1),
    ("glacier_provider.catalog.batch.Batch.cleared", 1),
    ("glacier_provider.catalog.proofs.Proofs.close", 1),
]


def killed_at(name: str, number: int) -> Callable[[], None]:
    """Have the process die at the so-and-so-many-th call of a method; returns what lets it live again."""
    calls = iter(range(1, 1000))
    patch = pytest.MonkeyPatch()
    owner, _, method = name.rpartition(".")
    module, _, cls = owner.rpartition(".")
    target = getattr(__import__(module, fromlist=[cls]), cls)
    original = getattr(target, method)

    def dying(self: Any, *args: Any, **kwargs: Any) -> Any:
        if next(calls) == number:
            raise Killed
        return original(self, *args, **kwargs)

    patch.setattr(target, method, dying)
    return patch.undo


@pytest.mark.parametrize(("name", "number"), STEPS)
def test_a_verification_that_is_killed_anywhere_is_gone_on_with_and_paid_for_once(
    verified: Verified, name: str, number: int
) -> None:
    verified.corrupt("doc2.pdf", b"content Z")
    live = killed_at(name, number)
    try:
        with pytest.raises(Killed):
            verified.run()
    finally:
        live()
    verified.app.catalog.close()
    closed = verified.run()
    assert closed["state"] == "found"
    assert found(closed)["lost"] == (1, ["doc2.pdf (backup 1)"])
    assert verified.jobs() == 2, "nothing was paid twice"
    assert verified.left() == []
    assert in_catalog(verified.app, "SELECT count(*) FROM proofs WHERE state = 'running'") == [(0,)]
    assert in_catalog(verified.app, "SELECT count(*) FROM batch_jobs WHERE NOT cleared") == [(0,)]


#: What a verification calls when it opens, lists and leaves its evidence.
ENDS = (
    "glacier_provider.catalog.proofs.Proofs.open",
    "glacier_provider.catalog.proofs.Proofs.note",
    "glacier_provider.catalog.evidence.EvidenceRows.take_up",
    "glacier_provider.catalog.evidence.EvidenceRows.draft",
    "glacier_provider.catalog.evidence.EvidenceRows.stored",
)


@pytest.mark.slow
def test_a_verification_that_is_killed_at_its_beginning_or_its_evidence_leaves_a_whole_chain(
    verified: Verified,
) -> None:
    app = verified.app
    for name in ENDS:
        live = killed_at(name, 1)
        try:
            with pytest.raises(Killed):
                verified.close(verified.run_listing())
        finally:
            live()
        app.catalog.close()
        assert verified.close(verified.run_listing())["state"] == "passed", name
        chain = evidence_in_stores(app.application, catalog=app.catalog, stores=app.stores)
        assert (chain.faults, chain.missing, chain.altered) == ((), (), ()), name
        assert len(chain.documents) == in_catalog(app, "SELECT count(*) FROM proofs")[0][0], name
        assert in_catalog(app, "SELECT count(*) FROM proofs WHERE state = 'running'") == [(0,)], name


def test_a_verification_whose_run_is_over_has_failed_and_its_jobs_are_read_by_the_next(verified: Verified) -> None:
    run = verified.app.a_run("verify")
    first = verify.open_verification(verified.app.application, catalog=verified.app.catalog, method="content", run=run)
    verified.request(first)
    assert verified.app.catalog.backups.run_is_over(run, "failed") == [f"verification {first}"]
    assert verified.run()["state"] == "passed"
    assert verified.jobs() == 2


def test_jobs_of_a_verification_that_gave_up_are_read_by_the_next(verified: Verified) -> None:
    first = verified.open()
    verified.listing(first)
    verified.request(first)
    closed = verified.close(first)
    assert (closed["state"], "not told all checksums yet" in closed["error"]) == ("failed", True)
    closed = verified.run()
    assert (closed["state"], closed["proof_id"] > first) == ("passed", True)
    assert verified.jobs() == 2
    assert verified.left() == []


def test_aws_that_cannot_be_reached_is_waited_for(verified: Verified) -> None:
    proof_id = verified.open()
    verified.request(proof_id)
    rule = verified.app.s3.plan.inject("DescribeJob", "unavailable")
    with pytest.raises(StoreUnavailable):
        verified.wait(proof_id)
    verified.app.s3.plan.remove(rule)
    verified.wait(proof_id)
    assert verified.read(proof_id).done
    row = verified.app.catalog.proofs.under_way(ProofKind.VERIFICATION)
    assert row is not None
    assert datetime.now(UTC) - row["began_at"] < timedelta(hours=1)
