"""Names of attached files as the catalog has them: which text names a place below its root. Pure.

A name is relative, with ``/`` between its parts (see `glacier_provider.core.archive`).
"""

from __future__ import annotations

from glacier_provider.core.archive import name_from_bytes, name_to_bytes
from glacier_provider.errors import UnsafePath

#: The product's own directory, at any depth: files under temporary names. It is never walked, read or restored.
TEMPORARY = ".glacier-tmp"

_FORBIDDEN = {
    b"": "an empty part",
    b".": "the part '.'",
    b"..": "the part '..'",
    TEMPORARY.encode(): f"the reserved part '{TEMPORARY}'",
}


def name_parts(name: str) -> tuple[bytes, ...]:
    r"""Return the components of a name; raise UnsafePath unless it is the canonical name of a place below its root.

    Refused are absolute names, empty parts (so also the empty name), ``.``, ``..``, NUL, the reserved name, and a
    second spelling of a name that has another one (``\xc3\xa9`` for ``é``).
    """
    try:
        raw = name_to_bytes(name)
    except ValueError as exc:
        raise UnsafePath(f"The name {shown(name)} is not a file name of the catalog.") from exc
    if "\\" in name and name_from_bytes(raw) != name:
        raise UnsafePath(f"The name {shown(name)} is a second spelling of {shown(name_from_bytes(raw))}.")
    if b"\0" in raw:
        raise UnsafePath(f"The name {shown(name)} has a NUL byte.")
    parts = tuple(raw.split(b"/"))
    for part in parts:
        if part in _FORBIDDEN:
            raise UnsafePath(f"The name {shown(name)} has {_FORBIDDEN[part]}.")
    return parts


def shown(name: str | bytes) -> str:
    """Return a name as a message may carry it: quoted, control characters escaped, at most 200 characters."""
    text = name_from_bytes(name) if isinstance(name, bytes) else name
    quoted = repr(text)
    return quoted if len(quoted) <= 200 else f"{quoted[:120]}…{quoted[-60:]}"
