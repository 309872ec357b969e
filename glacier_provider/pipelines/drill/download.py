"""`download_sample`: the dump and the files of a drill, out of the stores."""

from __future__ import annotations

from typing import Any

from glacier_provider.applications import Application
from glacier_provider.catalog.archives import ArchiveRange
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.core.drill import NOT_BROUGHT
from glacier_provider.core.proof import Finding
from glacier_provider.errors import ArchiveCorrupt, ArchiveMissing
from glacier_provider.pipelines.drill.step import drill_step
from glacier_provider.pipelines.restore.download import download_archives
from glacier_provider.pipelines.restore.elsewhere import Elsewhere
from glacier_provider.stores.contract import Stores


def download_sample(
    application: Application,
    proof_id: int,
    restore_id: int,
    wanted: ArchiveRange,
    *,
    catalog: Catalog,
    stores: Stores,
    elsewhere: Elsewhere,
) -> dict[str, int]:
    """Bring a range of the drill, as `download_archives` does: files that the store has not, or with another content,
    are lost from then on. What could not be brought for another reason, or is the dump, is a finding, and the drill
    goes on with the rest.
    """
    given: dict[str, Any] = {"catalog": catalog, "stores": stores, "elsewhere": elsewhere}
    piece = str(wanted.first)
    with drill_step(catalog, proof_id, "download", piece=piece):
        try:
            brought = download_archives(application, restore_id, wanted, **given)
        except (ArchiveCorrupt, ArchiveMissing) as error:
            finding = Finding(NOT_BROUGHT, error.message)
            catalog.proofs.note(proof_id, f"download {piece}", findings=[finding])
            return {"archives": 0, "bytes": 0}
        catalog.proofs.note(proof_id, f"download {piece}")
        return brought
