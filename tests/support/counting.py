"""What the catalog keeps figures of, counted archive by archive: what those figures have to be."""

from __future__ import annotations

from typing import Any

from glacier_provider.catalog.catalog import Catalog
from glacier_provider.core.archive import Amount

_COUNTED = """
SELECT status, count(*) AS archives, coalesce(sum(size), 0)::bigint AS bytes FROM (
    SELECT d.retrieval_status AS status, d.stored_size AS size
      FROM application_data_backups b JOIN glacier_archives d ON d.id = b.database_archive_id
     WHERE b.id = %(backup_id)s AND b.state NOT IN ('deleting', 'deleted')
    UNION ALL
    SELECT a.retrieval_status, coalesce(a.stored_size, a.original_size)
      FROM application_data_backups b
      JOIN backup_files f ON f.application_id = b.application_id AND f.first_backup_id <= b.id
                         AND (f.last_backup_id IS NULL OR f.last_backup_id >= b.id)
      JOIN glacier_archives a ON a.id = f.archive_id
     WHERE b.id = %(backup_id)s AND b.state NOT IN ('deleting', 'deleted')
       AND a.state IN ('planned', 'uploading', 'archived')) AS archives
 GROUP BY status
"""


def counted(catalog: Catalog, backup_id: int) -> dict[str, Amount]:
    """Return how many archives of a backup are in each retrieval status, and their bytes."""
    rows: Any = catalog._database.connection().execute(_COUNTED, {"backup_id": backup_id})
    return {row["status"]: Amount(row["archives"], row["bytes"]) for row in rows}
