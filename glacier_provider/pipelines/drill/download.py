"""`download_sample`: the dump and the files of a drill, out of the stores."""

from __future__ import annotations

import logging
from typing import Any

from glacier_provider.applications import Application
from glacier_provider.catalog.archives import ArchiveRange
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.core.drill import NOT_BROUGHT
from glacier_provider.core.proof import Finding
from glacier_provider.errors import ArchiveCorrupt
from glacier_provider.pipelines.drill.step import drill_step
from glacier_provider.pipelines.restore.download import download_archives
from glacier_provider.pipelines.restore.elsewhere import Elsewhere
from glacier_provider.stores.contract import Stores

log = logging.getLogger(__name__)

#: So often bytes are asked for that differ from their checksum, before the store is believed to have them so.
TRIES = 3


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
    """Bring a range of the drill, as `download_archives` does. What the store has with other bytes is a finding, and
    the drill goes on with the rest; `check_files` names it.
    """
    given: dict[str, Any] = {"catalog": catalog, "stores": stores, "elsewhere": elsewhere}
    piece = str(wanted.first)
    with drill_step(catalog, proof_id, "download", piece=piece):
        for left in reversed(range(TRIES)):
            try:
                brought = download_archives(application, restore_id, wanted, **given)
            except ArchiveCorrupt as error:
                if left:
                    log.warning("%s It is tried again.", error.message)
                    continue
                finding = Finding(NOT_BROUGHT, error.message)
                catalog.proofs.note(proof_id, f"download {piece}", findings=[finding])
                return {"archives": 0, "bytes": 0}
            catalog.proofs.note(proof_id, f"download {piece}")
            return brought
        raise AssertionError("the last try returns or raises")
