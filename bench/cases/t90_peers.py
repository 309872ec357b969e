"""Who else does it, and what the machine allows: no targets, but what the others' ratios are to be seen against."""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from bench import data, peers
from bench.child import measured, python
from bench.harness import MIB, Case, Contender
from bench.servers import Sink
from bench.workshop import GIB, Workshop

#: The operator takes as long for one file as the others for a hundred.
FILES, FEWER, FEWEST = 20_000, 2_000, 50


@contextmanager
def small(workshop: Workshop) -> Iterator[Sequence[Contender]]:
    """Small files on a sink: slow peers get fewer of them."""
    count, fewer = workshop.scaled(FILES, least=100), workshop.scaled(FEWER, least=20)
    many = workshop.in_memory(f"small-{count}", count * data.SMALL, lambda path: data.small_files(path, count))
    few = workshop.in_memory(f"small-{fewer}", fewer * data.SMALL, lambda path: data.small_files(path, fewer))
    home = {"AIRFLOW_HOME": str(workshop.scratch("airflow"))}
    with workshop.serving(Sink()) as sink:
        yield [
            _hash_each(many, count),
            peers.minimal_small("minimal client, 2 processes", sink, many, count=count, before=sink.forget),
            peers.boto3_loop("boto3 loop", sink, few, count=fewer, before=sink.forget),
            peers.amazon_operator(
                "LocalFilesystemToS3Operator", sink, few, count=min(fewer, FEWEST), env=home, before=sink.forget
            ),
            peers.aws_sync("aws s3 sync", sink, few, "aws", items=fewer, before=sink.forget),
        ]


@contextmanager
def large(workshop: Workshop) -> Iterator[Sequence[Contender]]:
    """One large file: reading it, reading and hashing it in one thread, and sending it without any promise."""
    size = workshop.scaled(GIB, least=MIB)
    path = workshop.in_memory(f"large-{size}", size, lambda place: data.large_file(place, size))
    with workshop.serving(Sink()) as sink:
        yield [
            peers.read_all("dd", path, items=size),
            python("read + SHA-256", "bench.cases.t90_peers:hash_file", arguments={"path": str(path)}, items=size),
            peers.minimal_client("minimal client with SHA-256", sink, path, items=size, before=sink.forget),
            peers.aws_copy("aws s3 cp", sink, path, "aws", items=size, before=sink.forget),
        ]


def _hash_each(source: object, count: int) -> Contender:
    arguments = {"source": str(source), "count": count}
    return python("list, read, SHA-256", "bench.cases.t90_peers:hash_small", arguments=arguments, items=count)


def hash_small(source: str, count: int) -> Mapping[str, float]:
    with measured():
        for path in peers.first_files(source, count):
            with open(path, "rb") as file:
                hashlib.sha256(file.read()).hexdigest()
    return {"files": count}


def hash_file(path: str) -> Mapping[str, float]:
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped, measured():
        hashlib.sha256(mapped).hexdigest()
    return {}


CASES = (
    Case("t90a", "other ways to send small files, and the least that it takes", small),
    Case("t90b", "other ways to send a large file, and the least that it takes", large),
)
