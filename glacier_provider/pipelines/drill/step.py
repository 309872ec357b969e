"""A step of a drill: its time is noted, and what stopped it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from glacier_provider.catalog.catalog import Catalog
from glacier_provider.core.drill import NOT_DONE
from glacier_provider.core.proof import Finding
from glacier_provider.errors import GlacierProviderError, IllegalMove


@contextmanager
def drill_step(catalog: Catalog, proof_id: int, step: str, *, piece: str = "") -> Iterator[None]:
    """Note how long a step took, or that it could not be done, and why; a later try that succeeds takes that back.

    `piece` tells apart tasks that are a step together.
    """
    began = time.monotonic()
    named = f"doing {step} {piece}".strip()
    try:
        yield
    except GlacierProviderError as error:
        with suppress(GlacierProviderError):
            catalog.proofs.note(proof_id, named, findings=[Finding(NOT_DONE, str(error))])
        raise
    with suppress(IllegalMove):  # it was ended meanwhile, and stays as it is
        catalog.proofs.note(proof_id, named)
    catalog.drills.note_span(proof_id, step, time.monotonic() - began)
