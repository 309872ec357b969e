"""Fixtures for applications on a vault."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.emulator.vault import VaultEmulator
from tests.support.application import ApplicationUnderTest, a_small_dms
from tests.support.vault import VAULT, OnAVault


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[VaultEmulator]:
    """An emulated vault whose retrievals take a fraction of a second."""
    with VaultEmulator(tmp_path / "emulated-vault", standard_seconds=0.2) as emulator:
        emulator.client().create_vault(vaultName=VAULT)
        yield emulator


@pytest.fixture
def on_a_vault(make_application: Callable[..., ApplicationUnderTest], vault: VaultEmulator) -> OnAVault:
    """A small document management, as `dms` is, whose archives go to a vault."""
    made = make_application()
    application = replace(made.application, store=f"glacier://{VAULT}")
    on_vault = OnAVault(application, made.server, made.catalog, made.catalog_server, made.s3, vault=vault)
    a_small_dms(on_vault)
    return on_vault
