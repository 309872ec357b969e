"""Worlds for the tests of this directory: one application with its model, on each store."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from glacier_provider.postgres import Server
from tests.emulator.s3 import S3Emulator
from tests.emulator.vault import VaultEmulator
from tests.faults.changing import ChangingWorld
from tests.faults.places import Place, S3Place, VaultPlace, a_vault_emulator
from tests.faults.world import QUICK, World

_numbers = iter(range(1, 10_000))


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Emulator]:
    with S3Emulator(retrieval_seconds=QUICK) as emulator:
        yield emulator


@pytest.fixture
def vault_and_post() -> Iterator[tuple[VaultEmulator, S3Emulator]]:
    with (
        tempfile.TemporaryDirectory(prefix="vault-") as directory,
        a_vault_emulator(Path(directory), seconds=QUICK) as both,
    ):
        yield both


@pytest.fixture
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    """A bucket, unless a test is parametrized with "vault"."""
    if getattr(request, "param", "s3") == "vault":
        yield VaultPlace(*request.getfixturevalue("vault_and_post"))
    else:
        emulator: S3Emulator = request.getfixturevalue("s3")
        yield S3Place(emulator, f"faults-{next(_numbers)}")
        emulator.plan.clear()


@pytest.fixture
def make_world(new_database: Callable[[], Server], tmp_path: Path, place: Place) -> Iterator[Callable[..., World]]:
    """Makes worlds with databases of their own, on the test's store; from the second one on, on another place of it."""
    made: list[World] = []

    def make(kind: type[World] = World, **settings: Any) -> World:
        directory = tmp_path / f"world-{len(made)}"
        there = place if not made else place.another(len(made))
        made.append(kind(directory, there, database=new_database(), catalog=new_database(), **settings))
        return made[-1]

    yield make
    for world in made:
        world.close()


@pytest.fixture
def changing(make_world: Callable[..., ChangingWorld]) -> ChangingWorld:
    return make_world(ChangingWorld)


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    return make_world()
