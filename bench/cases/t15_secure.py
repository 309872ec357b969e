"""T15: T1, T3, T7 and T12 over TLS 1.3 with certificates verified, as everybody uses it, and rclone over the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from bench.cases.t01_small_files import LEAN, OURS, on_a_server
from bench.cases.t01_small_files import against_rclone as small_files
from bench.cases.t03_large_archive import OWN, downloads
from bench.cases.t03_large_archive import against_rclone as large_archive
from bench.cases.t12_restore_small import down
from bench.harness import Case, Contender, Target
from bench.servers import SecureSeaweedFS, SecureSink
from bench.workshop import Workshop


@contextmanager
def small_on_a_sink(workshop: Workshop) -> Iterator[Sequence[Contender]]:
    with small_files(workshop, SecureSink()) as (contenders, *_):
        yield contenders


@contextmanager
def large_on_a_sink(workshop: Workshop) -> Iterator[Sequence[Contender]]:
    with large_archive(workshop, SecureSink()) as (contenders, *_):
        yield contenders


def _of(name: str, peer: str, limit: float) -> Target:
    """What a task takes, which is running already, against a whole process."""
    return Target(f"T15 {name}", OURS, peer, limit, measure="inside", peer_measure="wall")


CASES = (
    Case(
        "t15a",
        "first upload of 20,000 small files over TLS, on a sink",
        small_on_a_sink,
        (
            _of("small files up, sink, rclone --transfers 32", "rclone", 0.4),
            _of("small files up, sink, lean rclone", "rclone lean", 0.65),
        ),
        warm_up=True,
    ),
    Case(
        "t15b",
        "the same on SeaweedFS over TLS",
        on_a_server(SecureSeaweedFS, {"rclone": (), "rclone lean": LEAN}),
        (
            _of("small files up, seaweedfs, rclone --transfers 32", "rclone", 0.4),
            _of("small files up, seaweedfs, lean rclone", "rclone lean", 0.65),
        ),
    ),
    Case(
        "t15c",
        "an archive of 1 GiB up over TLS, on a sink",
        large_on_a_sink,
        (
            _of("1 GiB up, sink, rclone", "rclone", 0.8),
            _of("1 GiB up, sink, rclone tuned", "rclone tuned", 0.8),
        ),
        warm_up=True,
    ),
    Case(
        "t15d",
        "1 GiB down from SeaweedFS over TLS, verified",
        downloads(SecureSeaweedFS, gives_digest=False),
        (_of("1 GiB down, seaweedfs, rclone that verifies", OWN, 0.8),),
        warm_up=True,
    ),
    Case(
        "t15e",
        "20,000 small files down from SeaweedFS over TLS",
        down(lambda _: SecureSeaweedFS(), transfers=32),
        (_of("small files down, seaweedfs, rclone --transfers 32", "rclone", 0.4),),
        warm_up=True,
    ),
    Case(
        "t15f",
        "20,000 small files down from a sink over TLS",
        down(lambda directory: SecureSink(directory=directory), transfers=32),
        (_of("small files down, sink, rclone --transfers 32", "rclone", 0.4),),
        warm_up=True,
    ),
)
