"""The first step: a row for the verification, or that of one that another run did not finish."""

from __future__ import annotations

import logging

from glacier_provider.applications import Application
from glacier_provider.catalog.backups import Run
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.core.proof import ProofKind

log = logging.getLogger(__name__)


def method_of(application: Application) -> str:
    """Return how an application is verified when nobody says otherwise; a vault by its inventory, a listing."""
    by_content = application.verify.by == "content" and application.store.startswith("s3:")
    return "content" if by_content else "listing"


def open_verification(
    application: Application,
    *,
    catalog: Catalog,
    method: str,
    run: Run | None = None,
    asked_by: str | None = None,
) -> int:
    """Return the id of the verification that is under way, whoever began it, or of a new one.

    What an earlier run began and paid for is gone on with; it keeps its method.
    """
    catalog.migrate()
    before = catalog.proofs.under_way(ProofKind.VERIFICATION)
    proof_id = catalog.proofs.open(ProofKind.VERIFICATION, method=method, run=run, asked_by=asked_by)
    if before is not None:
        began = f"{before['began_at']:%Y-%m-%d %H:%M} UTC"
        log.info("Verification %d of %s, which began at %s, is gone on with.", proof_id, application.name, began)
    return proof_id
