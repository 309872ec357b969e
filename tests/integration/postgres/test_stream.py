"""Dumps through a pipe, on real servers of several versions."""

from __future__ import annotations

import io
import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from glacier_provider.errors import DatabaseBusy, DatabaseRefused, OutOfSpace, StoreDenied
from glacier_provider.postgres import Dump, DumpFormat, PgDumpOptions, Server, Tools, dump_to_path, dump_to_stream
from glacier_provider.postgres.dump.stream import compressed_here, decompress
from tests.integration.postgres.conftest import MAIN, NEWER, SampleServer


def streamed(server: Server, tools: Tools, sink: io.BytesIO, **options: object) -> Dump:
    return dump_to_stream(server, tools, PgDumpOptions(**options), sink, progress=print)  # type: ignore[arg-type]


def restored(sample: SampleServer, tools: Tools, dump: Path) -> Server:
    server = sample.new(empty=True)
    argv = [tools.path("pg_restore"), "--dbname", server.dbname, str(dump)]
    subprocess.run(argv, env={**os.environ, **server.environment()}, check=True)
    return server


@pytest.mark.parametrize("compression", [None, "zstd:9", "gzip:1", "lz4", "none"])
def test_a_stream_restores_to_the_same_database(sample: SampleServer, compression: str | None, tmp_path: Path) -> None:
    server, sink = sample.new(), io.BytesIO()
    dump = streamed(server, sample.tools, sink, compression=compression)
    assert (dump.path, dump.format, dump.size) == (None, DumpFormat.CUSTOM, len(sink.getvalue()))
    assert dump.plain_size is None, "pg_dump compressed it, and pg_restore reads it as it is"
    assert dump.entries > 10
    (tmp_path / "dump").write_bytes(sink.getvalue())
    assert sample.everything(restored(sample, sample.tools, tmp_path / "dump")) == sample.everything(server)


def test_what_a_client_without_zstd_writes_is_compressed_here(
    sample: SampleServer, tools_of: Callable[[str], Tools], tmp_path: Path
) -> None:
    tools, server, sink = tools_of(NEWER), sample.new(), io.BytesIO()
    assert compressed_here(tools, PgDumpOptions())
    assert not compressed_here(tools, PgDumpOptions(compression="gzip"))
    assert not compressed_here(tools_of(MAIN), PgDumpOptions())
    dump = streamed(server, tools, sink)
    assert dump.compression == "zstd:3 by zstandard"
    (tmp_path / "packed").write_bytes(sink.getvalue())
    decompress(tmp_path / "packed", tmp_path / "plain")
    assert (tmp_path / "plain").stat().st_size == dump.plain_size
    assert dump.size < (dump.plain_size or 0)
    again = restored(sample, tools, tmp_path / "plain")
    assert sample.everything(again) == sample.everything(server)


@pytest.mark.parametrize("way", ["directory", "stream"])
def test_references_and_rows_are_of_one_snapshot(sample: SampleServer, way: str, tmp_path: Path) -> None:
    server, names = sample.new(), []
    before = sample.everything(server)
    options = PgDumpOptions(
        references_query="SELECT name FROM public.customers",
        **({"format": DumpFormat.DIRECTORY, "jobs": 2} if way == "directory" else {}),  # type: ignore[arg-type]
    )

    def note(batch: list[str]) -> None:
        sample.run(server, "DELETE FROM public.events; INSERT INTO public.customers (id, name) VALUES (999, 'late')")
        names.extend(batch)

    target = tmp_path / "dump"
    if way == "directory":
        dump_to_path(server, sample.tools, options, target, progress=print, references=note)
    else:
        with target.open("wb") as sink:
            dump_to_stream(server, sample.tools, options, sink, progress=print, references=note)
    assert sorted(names) == sorted(f"Customer {n}" for n in range(1, 301))
    assert sample.everything(restored(sample, sample.tools, target)) == before


def test_a_stream_that_fails_says_why(sample: SampleServer) -> None:
    server = sample.new()
    sample.postgres.create_role("stream_reader", password="Reader-Secret")
    with pytest.raises(DatabaseRefused, match="permission denied") as caught:
        streamed(replace(server, user="stream_reader", password="Reader-Secret"), sample.tools, io.BytesIO())
    assert "Reader-Secret" not in str(caught.value)
    with server.connect() as other:
        other.execute("LOCK TABLE public.events IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(DatabaseBusy, match="was locked"):
            streamed(server, sample.tools, io.BytesIO(), lock_timeout_seconds=0.2)


def test_a_sink_that_takes_no_more_ends_pg_dump(sample: SampleServer) -> None:
    class Full(io.BytesIO):
        def write(self, _data: object, /) -> int:
            raise StoreDenied("not here")

    with pytest.raises(StoreDenied, match="not here"):
        streamed(sample.new(), sample.tools, Full())


def test_a_stream_that_is_kept_whole_needs_the_room_for_it(sample: SampleServer, tmp_path: Path) -> None:
    with pytest.raises(OutOfSpace, match="needs about"):
        dump_to_stream(
            sample.new(), sample.tools, PgDumpOptions(space_ratio=1e9), io.BytesIO(), progress=print, staging=tmp_path
        )
