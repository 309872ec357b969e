"""Which ids the keys of a bucket have, found by a handful of short listings.

A catalog that went back in time would give ids a second time that its other life has used. Keys come in the order of
their ids: whether a higher one is there is one request a folder, and which one is the highest a search by halves.
"""

from __future__ import annotations

from glacier_provider.core.archive import ArchiveKind
from glacier_provider.stores.s3.bucket import Bucket
from glacier_provider.stores.s3.keys import folder_of, id_path, key_facts

#: No life of a catalog is further ahead than that: a key beyond it was not made by one, and uses up no ids.
_FARTHEST = 10**9


def ids_in_use(bucket: Bucket, application: str, *, archive_id: int, backup_id: int) -> tuple[int, int]:
    """Return the highest ids in the keys of an application, of archives and of backups; at least those given."""
    kinds = (ArchiveKind.FILE, ArchiveKind.DATABASE)
    archives = max(_highest(bucket, application, kind, archive_id) for kind in kinds)
    backups = _highest(bucket, application, ArchiveKind.MANIFEST, backup_id)
    if backups > backup_id:  # a manifest is an archive, too; its key has the id of its backup
        folder = folder_of(bucket.uri.prefix, application, ArchiveKind.MANIFEST)
        manifest = bucket.head(f"{folder}{backups:012d}.json.gz")
        told = manifest.description if manifest is not None else None
        if told is not None and told.archive_id <= archive_id + _FARTHEST:
            archives = max(archives, told.archive_id)
    return archives, backups


def _highest(bucket: Bucket, application: str, kind: ArchiveKind, above: int) -> int:
    """Return the highest number in the keys of one kind, of those that are not too far above the one given."""
    limit = above + _FARTHEST
    found = _next(bucket, application, kind, above, limit)
    if found is None:
        return above
    nothing_from = limit + 1
    step = 1
    while found + step < nothing_from:  # doubled until nothing is there, then halved
        following = _next(bucket, application, kind, found + step, limit)
        if following is None:
            nothing_from = min(nothing_from, found + step + 1)
            break
        found, step = following, step * 2
    while found + 1 < nothing_from:
        middle = (found + nothing_from) // 2
        following = _next(bucket, application, kind, middle - 1, limit)
        if following is None:
            nothing_from = middle
        else:
            found = following
    return found


def _next(bucket: Bucket, application: str, kind: ArchiveKind, above: int, limit: int) -> int | None:
    """Return the lowest number above one, up to a limit, or None."""
    folder = folder_of(bucket.uri.prefix, application, kind)
    start = f"{above + 1:012d}" if kind is ArchiveKind.MANIFEST else id_path(above + 1)
    for page in bucket.pages(folder, StartAfter=f"{folder}{start}", MaxKeys=100):
        for entry in page.get("Contents", []):  # what is none of ours may lie between
            facts = key_facts(bucket.uri.prefix, entry["Key"])
            if facts is not None and above < facts.number <= limit:
                return facts.number
    return None
