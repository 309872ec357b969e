"""A store's listing, compared with the catalog part by part: in little memory, in short transactions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from glacier_provider.applications import Application
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.catalog.checks import Compared
from glacier_provider.core.store_uri import parse_store_uri, store_class
from glacier_provider.stores.contract import ArchiveStore, IsWatched

#: So many requests' worth are compared at once: 50,000 archives of S3, some 40 MB.
PART_PAGES = 50


def compared_parts(
    application: Application,
    store: ArchiveStore,
    *,
    catalog: Catalog,
    as_of: datetime,
    after: str = "",
    pages: int | None = None,
    uris: Sequence[str] | None = None,
) -> Iterator[Compared]:
    """Yield what each part of a listing comes to, behind the key `after`: so many requests' worth, or to the end.

    With `uris`, those of all stores of the application, it is looked as well for what the catalog does not know, or
    knows otherwise. A store that lists no parts is compared as a whole.
    """
    classes = None if uris is None else (store_class(store.uri), same_place(store.uri, uris))
    if not isinstance(store, IsWatched):
        listed = store.archives(application.name, described=False)
        yield catalog.checks.compare(store.uri, listed, after="", until=None, as_of=as_of, classes=classes)
        return
    left = pages
    while left is None or left > 0:
        share = PART_PAGES if left is None else min(left, PART_PAGES)
        part = store.listed_after(application.name, after, pages=share)
        yield catalog.checks.compare(
            store.uri, part.archives, after=after, until=part.until, as_of=as_of, classes=classes
        )
        if part.until is None:
            return
        after, left = part.until, None if left is None else left - share


def same_place(uri: str, uris: Sequence[str]) -> list[str]:
    """Return the stores that lie in the same bucket below the same prefix, or in the same vault."""
    return [one for one in {uri, *uris} if is_same_place(one, uri)]


def one_a_place(uris: Iterable[str]) -> list[str]:
    """Return one URI of each bucket and prefix, or vault: the last one that is given."""
    return list({_place(uri): uri for uri in uris}.values())


def is_same_place(one: str, other: str) -> bool:
    """Whether two stores, of whatever storage classes, are one bucket and prefix, or one vault."""
    return _place(one) == _place(other)


def _place(uri: str) -> tuple[str, ...]:
    parsed = parse_store_uri(uri)
    return (getattr(parsed, "bucket", ""), getattr(parsed, "prefix", ""), getattr(parsed, "vault", ""))
