"""What was tried is told as it was found, and not otherwise afterwards."""

from __future__ import annotations

import pytest

from glacier_provider.catalog.catalog import Catalog
from glacier_provider.core.proof import ProofKind
from glacier_provider.errors import IllegalMove


def test_what_has_ended_is_not_told_otherwise(catalog: Catalog) -> None:
    proof_id = catalog.proofs.open(ProofKind.VERIFICATION, method="listing")
    catalog.proofs.note(proof_id, "listed", figures={"archives": 3})
    before = catalog.proofs.close(proof_id)
    with pytest.raises(IllegalMove):
        catalog.proofs.note(proof_id, "listed", figures={"archives": 4})
    with pytest.raises(IllegalMove):
        catalog.proofs.close(proof_id)
    assert catalog.proofs.get(proof_id) == before
