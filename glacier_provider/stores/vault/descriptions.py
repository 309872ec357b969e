r"""What a vault archive says about itself: one line of JSON in its description. Pure.

A vault keeps nothing about an archive but a description of at most 1,024 printable ASCII characters
(https://docs.aws.amazon.com/amazonglacier/latest/dev/api-archive-post.html). Ours reads:

    {"glacier_provider":1,"app":"library","kind":"file","archive":7,"backup":3,"by":"5f0c…","size":9,"sha256":"…",
     "name":"a/b.pdf"}

`glacier_provider` is the format version and tells ours from foreign ones; `encoding` is there unless it is `identity`;
`by` is the signature of the catalog that wrote it, and is missing where there was none.
The filename stands there in the first form that fits: `name`, as JSON (``ü`` is written ``\u00fc``); `name64`,
URL-safe Base64 of its UTF-8; `begin` and `name_sha256`, as much of its beginning as there is room for and the hash of
its UTF-8. The full name of such an archive stands in the manifests of its backups, under the same archive id; until
then its filename reads `sha256:<hash>`.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from glacier_provider.core.archive import ArchiveKind, Description
from glacier_provider.core.strict_json import strict_json
from glacier_provider.core.told import checked_description

MAX_DESCRIPTION = 1024
_MARKER = "glacier_provider"


def description_text(description: Description) -> str:
    """Return the description of an archive as a vault keeps it; raise ValueError for an endless application name."""
    facts: dict[str, Any] = {
        _MARKER: description.format_version,
        "app": description.application,
        "kind": str(description.kind),
        "archive": description.archive_id,
        "backup": description.backup_id,
        "by": description.written_by,
        "size": description.size,
        "sha256": description.sha256,
        "encoding": description.encoding if description.encoding != "identity" else None,
    }
    known = {name: value for name, value in facts.items() if value is not None}
    texts = (_json(known | form) for form in _name_forms(description.filename))
    fitting = next((text for text in texts if len(text) <= MAX_DESCRIPTION), None)
    if fitting is None:
        raise ValueError(f"no description of archive {description.archive_id} fits {MAX_DESCRIPTION} characters")
    return fitting


def _name_forms(filename: str) -> Iterator[dict[str, str]]:
    raw = filename.encode("utf-8")
    yield {"name": filename}
    yield {"name64": base64.urlsafe_b64encode(raw).decode("ascii")}
    digest = hashlib.sha256(raw).hexdigest()
    for length in (512, 256, 128, 64, 32, 0):
        yield {"begin": filename[:length], "name_sha256": digest}


def _json(values: Mapping[str, Any]) -> str:
    """Return JSON in printable ASCII, without two spaces in a row: on their way some collapse them."""
    text = json.dumps(values, ensure_ascii=True, separators=(",", ":"))
    return text.replace("\x7f", "\\u007f").replace("  ", " \\u0020")


def description_from_text(text: str | None, *, size: int | None = None) -> Description | None:
    """Return the description that `description_text` wrote, or None for a text that it did not write.

    `size` (bytes) is that of the archive, for one whose size was not known when its description was written.
    """
    try:
        values = strict_json(text or "")
        return checked_description(
            Description(
                application=_text(values["app"]),
                kind=ArchiveKind(values["kind"]),
                archive_id=_number(values["archive"]),
                backup_id=_number(values["backup"]),
                filename=_filename(values),
                size=_number(values["size"]) if "size" in values else size,
                sha256=_text(values["sha256"]) if "sha256" in values else None,
                encoding=_text(values.get("encoding", "identity")),
                format_version=_number(values[_MARKER]),
                written_by=_text(values["by"]) if "by" in values else None,
            )
        )
    except (KeyError, ValueError, TypeError, RecursionError):
        return None


def _filename(values: Mapping[str, Any]) -> str:
    if "name" in values:
        return _text(values["name"])
    if "name64" in values:
        return base64.b64decode(_text(values["name64"]), b"-_", validate=True).decode("utf-8")
    return f"sha256:{_text(values['name_sha256'])}"


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"not a text: {value!r}")
    return value


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"not a number: {value!r}")
    return value


def is_same_archive(one: Description, other: Description) -> bool:
    """Return whether two descriptions name the same archive of the same catalog; their content may differ."""
    return _identity(one) == _identity(other)


def _identity(description: Description) -> tuple[object, ...]:
    return description.application, description.kind, description.archive_id, description.written_by
