"""Many small files by several processes: what goes wrong on the fast path is made good on the careful one."""

from __future__ import annotations

import logging
import os
import random
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from glacier_provider.catalog.archives import Archives
from glacier_provider.errors import FileChanged, GlacierProviderError, StoreError
from glacier_provider.pipelines.backup import upload
from glacier_provider.stores.s3.fast import pool
from tests.contract.test_store_contract import EVIL_NAMES
from tests.emulator.faults import FaultKind
from tests.faults.places import S3Place
from tests.faults.world import Kill, World

CHANCE = random.Random(5)


@pytest.fixture(autouse=True)
def _always_by_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "POOL_FROM", 0)


@pytest.fixture
def many(make_world: Callable[..., World]) -> World:
    """A world with a hundred small files."""
    return with_files(make_world(parallelism=1))


def with_files(world: World, count: int = 100) -> World:
    for number in range(count):
        world.put_file(f"{number % 7}/file {number}.bin", random.Random(number).randbytes(number * 50))
    return world


def emulator(world: World) -> Any:
    assert isinstance(world.place, S3Place)
    return world.place.emulator


def puts(world: World, status: int = 200) -> int:
    assert isinstance(world.place, S3Place)
    return int(emulator(world).count("PutObject", bucket=world.place.bucket, status=status))


@contextmanager
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Yield the processes, as they are started."""
    started: list[Any] = []
    usual = pool._Process.__init__

    def init(process: Any, *arguments: Any) -> None:
        usual(process, *arguments)
        started.append(process)

    with monkeypatch.context() as patch:
        patch.setattr(pool._Process, "__init__", init)
        yield started


def test_all_are_archived_with_one_request_each(many: World) -> None:
    many.back_up()
    many.check_all()
    assert puts(many) == 103  # the dump, the manifest and the mark of the catalog as well
    assert puts(many, 412) == 0


def test_what_a_process_sends_is_what_botocore_would_send(
    make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    def objects(world: World) -> dict[str, Any]:
        for name in EVIL_NAMES:
            path = os.fsencode(world.files) + b"/" + name
            os.makedirs(os.path.dirname(path), exist_ok=True)
            Path(os.fsdecode(path)).write_bytes(name)
        world.back_up()
        assert isinstance(world.place, S3Place)
        bucket = emulator(world).objects.bucket(world.place.bucket)
        files = {key: one for key, one in bucket.keys.items() if "/files/" in key}
        emulator(world).objects.bucket(world.place.bucket).keys.clear()
        writers = {one.metadata["x-amz-meta-written-by"] for one in files.values()}
        assert len(writers) == 1  # its catalog, which is another one in each world
        return {
            key: (one.value, dict(one.metadata) | {"x-amz-meta-written-by": ""}, one.storage_class, one.checksum_value)
            for key, one in files.items()
        }

    by_processes = objects(make_world())
    monkeypatch.setattr(upload, "POOL_FROM", 10**9)
    assert by_processes == objects(make_world())
    assert len(by_processes) == len(EVIL_NAMES)


def test_a_storm_of_refusals_slows_all_down_and_loses_nothing(
    many: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "_FIRST_PAUSE", 0.01)
    monkeypatch.setattr(pool, "_LONGEST_PAUSE", 0.5)
    emulator(many).plan.inject("PutObject", FaultKind.THROTTLING, count=40, after=10)
    with caplog.at_level(logging.INFO):
        many.back_up()
    many.check_all()
    assert "half as many at once" in caplog.text


@pytest.mark.parametrize(
    "kind", [FaultKind.INTERNAL_ERROR, FaultKind.RESET_BEFORE, FaultKind.RESET_AFTER, FaultKind.TIMEOUT]
)
def test_what_fails_once_is_sent_with_care(many: World, kind: FaultKind, caplog: pytest.LogCaptureFixture) -> None:
    emulator(many).plan.inject("PutObject", kind, every=9, count=8)
    with caplog.at_level(logging.INFO):
        many.back_up()
    many.check_all()
    assert [rule["fired"] for rule in emulator(many).plan.rules()] == [8]
    # Others were answered in between: no pause grows. What is cut, libcurl may send again by itself.
    pauses = set(re.findall(r"a pause of ([\d.]+) s", caplog.text))
    assert pauses == {"0.5"} or (not pauses and kind is not FaultKind.INTERNAL_ERROR)


def test_a_denied_request_is_an_error_with_its_reason(many: World) -> None:
    emulator(many).plan.inject("PutObject", FaultKind.ACCESS_DENIED, when={"key": "*/files/*"})
    with pytest.raises(StoreError, match="Access Denied"):
        many.back_up()


def test_a_file_whose_key_holds_it_already_is_adopted(many: World) -> None:
    """Killed after the store had them all, before the catalog knew of one."""
    many.back_up(kill=Kill("upload_files", "before statement record_uploads"))
    many.check_all()
    assert puts(many, 412) > 0


@pytest.mark.parametrize(
    "at", ["after work for a process", "before answers of a process", "after answers of a process"]
)
def test_a_task_that_dies_among_its_processes_goes_on(many: World, at: str) -> None:
    many.back_up(kill=Kill("upload_files", at))
    many.check_all()
    assert many.figures.kills == 1


def test_processes_that_die_leave_their_files_to_the_task(many: World, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = pool.read_frame

    with watched(monkeypatch) as started:

        def read(fd: int) -> Any:
            answers = usual(fd)
            for process in started:
                if process.alive:
                    os.kill(process._process.pid, signal.SIGKILL)
            return answers

        monkeypatch.setattr(pool, "read_frame", read)
        many.back_up()
    many.check_all()
    assert started
    assert all(process._process.returncode is not None for process in started)


def test_no_process_is_left_when_the_task_fails(many: World, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = Archives.record_uploads

    def record(archives: Archives, uploads: Any) -> int:
        if started:  # the dump is recorded before
            raise GlacierProviderError("the catalog is gone")
        return usual(archives, uploads)

    monkeypatch.setattr(Archives, "record_uploads", record)
    with watched(monkeypatch) as started, pytest.raises(GlacierProviderError, match="the catalog is gone"):
        many.back_up()
    assert started
    assert all(process._process.returncode is not None for process in started)


def test_a_process_has_no_secret_in_its_arguments_or_environment(many: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", "aws://a-secret-of-airflow")
    seen: list[bytes] = []
    usual = pool.read_frame

    with watched(monkeypatch) as started:

        def read(fd: int) -> Any:
            for process in started:
                for what in ("environ", "cmdline"):
                    seen.append(Path(f"/proc/{process._process.pid}/{what}").read_bytes())
            return usual(fd)

        monkeypatch.setattr(pool, "read_frame", read)
        many.back_up()
    everything = b"".join(seen)
    assert b"glacier_provider.stores.s3.fast.process" in everything
    for secret in (b"a-secret-of-airflow", b"testing", b"AIRFLOW", b"SECRET"):
        assert secret not in everything


def test_a_file_that_is_still_being_written_is_named_and_the_others_are_archived(
    make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = with_files(make_world(parallelism=1, settle_seconds=3600), 20)
    (world.files / "unfinished.bin").write_bytes(b"as yet")
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    with pytest.raises(FileChanged, match=r"unfinished\.bin"):
        world.back_up()
    archived = "SELECT count(*) FROM glacier_archives WHERE kind = 'file' AND state = 'archived'"
    assert world.sql(archived, catalog=True) == [(20,)]


def test_a_file_that_vanished_is_no_part_of_the_backup(many: World) -> None:
    run = many.a_run("backup")
    usual = World.task

    def task(world: World, step: str, work: Any) -> Any:
        if step == "upload_files":
            world.delete_file("1/file 1.bin")
        return usual(world, step, work)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(World, "task", task)
        many.back_up(run)
    many.check_all()


def test_without_processes_all_is_as_before(many: World, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def refuse(*arguments: object, **_: object) -> None:
        asked.append(arguments)
        raise OSError("no more processes")

    monkeypatch.setattr(pool, "_Process", refuse)
    many.back_up()
    many.check_all()
    assert asked
