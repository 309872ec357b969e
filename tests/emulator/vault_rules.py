"""The documented rules of the vault API as pure functions: hashes, ranges, names, errors.

Page names in the docstrings are those of the Amazon Glacier developer guide.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

MIB = 1024 * 1024
GIB = 1024 * MIB
MAX_SINGLE_UPLOAD = 4 * GIB
MAX_PARTS = 10_000
MAX_DESCRIPTION = 1024
MAX_PAGE = 50
API_VERSION = "2012-06-01"
TIERS = ("Expedited", "Standard", "Bulk")
EVENTS = ("ArchiveRetrievalCompleted", "InventoryRetrievalCompleted")
_DIGEST = 32


class GlacierError(Exception):
    """An answer that refuses a request, in the shape of the page Error Responses."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.status, self.code, self.message = status, code, message

    def body(self) -> bytes:
        """Return the JSON body: code, message, and whose fault it was."""
        kind = "Server" if self.status >= 500 else "Client"
        return json.dumps({"code": self.code, "message": self.message, "type": kind}).encode()


def invalid(message: str) -> GlacierError:
    """Return the 400 for a wrong parameter."""
    return GlacierError(400, "InvalidParameterValueException", message)


def missing(name: str) -> GlacierError:
    """Return the 400 for a parameter that is not there."""
    return GlacierError(400, "MissingParameterValueException", f"Required parameter missing: {name}")


def not_found(message: str) -> GlacierError:
    """Return the 404 for a vault, archive, upload or job."""
    return GlacierError(404, "ResourceNotFoundException", message)


@dataclass(frozen=True)
class Span:
    """A range of bytes, both ends included, as AWS writes it: "first-last"."""

    first: int
    last: int

    @property
    def size(self) -> int:
        """Return the number of bytes."""
        return self.last - self.first + 1

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"


# --- hashes -----------------------------------------------------------------------------------------------


def tree_root(hashes: Iterable[bytes]) -> bytes:
    """Return the root of the tree over raw digests (Computing Checksums): a lone last node moves up unhashed."""
    level = list(hashes) or [hashlib.sha256(b"").digest()]
    while len(level) > 1:
        pairs = [hashlib.sha256(level[i] + level[i + 1]).digest() for i in range(0, len(level) - 1, 2)]
        level = pairs + level[len(pairs) * 2 :]
    return level[0]


class BodyHasher:
    """Hashes a body as it arrives: SHA-256 of the whole, and of each MiB for the tree."""

    def __init__(self) -> None:
        self.size = 0
        self._linear = hashlib.sha256()
        self._leaf = hashlib.sha256()
        self._leaves: list[bytes] = []

    def update(self, data: bytes) -> None:
        """Take the next bytes."""
        self._linear.update(data)
        view = memoryview(data)
        while view:
            room = MIB - self.size % MIB
            piece = view[:room]
            self._leaf.update(piece)
            self.size += len(piece)
            if len(piece) == room:
                self._close_leaf()
            view = view[room:]

    @property
    def linear(self) -> str:
        """Return the plain SHA-256 in hex."""
        return self._linear.hexdigest()

    def leaves(self) -> list[bytes]:
        """Return the raw digest of each MiB, the last one possibly shorter."""
        return self._leaves + ([self._leaf.digest()] if self.size % MIB else [])

    @property
    def tree(self) -> str:
        """Return the tree hash in hex."""
        return tree_root(self.leaves()).hex()

    def _close_leaf(self) -> None:
        self._leaves.append(self._leaf.digest())
        self._leaf = hashlib.sha256()


def tree_hash(data: bytes) -> str:
    """Return the SHA-256 tree hash of bytes in hex."""
    hasher = BodyHasher()
    hasher.update(data)
    return hasher.tree


def split_leaves(blob: bytes) -> list[bytes]:
    """Return the digests that were stored one after the other."""
    return [blob[i : i + _DIGEST] for i in range(0, len(blob), _DIGEST)]


# --- ranges -----------------------------------------------------------------------------------------------


def is_mib_aligned(span: Span, size: int) -> bool:
    """Return whether a range of an archive is megabyte aligned (Receiving Checksums When Downloading Data)."""
    return span.first % MIB == 0 and ((span.last + 1) % MIB == 0 or span.last == size - 1)


def is_tree_aligned(span: Span, size: int) -> bool:
    """Return whether the tree over a range of an archive is a node of the archive's tree (same page)."""
    if not is_mib_aligned(span, size):
        return False
    first, end, count = span.first // MIB, -(-(span.last + 1) // MIB), -(-size // MIB)
    length = end - first
    if end < count:
        return length & (length - 1) == 0 and first % length == 0
    return first % (1 << (length - 1).bit_length()) == 0


def parse_part_range(header: str | None) -> Span:
    """Return the range of an Upload Part request: "bytes 0-1048575/*"."""
    if header is None:
        raise missing("Content-Range")
    match = re.fullmatch(r"bytes (\d+)-(\d+)/\*", header.strip())
    if match is None or int(match[2]) < int(match[1]):
        raise invalid(f"Invalid Content-Range: {header}")
    return Span(int(match[1]), int(match[2]))


def parse_output_range(header: str, size: int) -> Span:
    """Return the part of an output of `size` bytes that a Get Job Output request asks for: "bytes=0-1048575"."""
    match = re.fullmatch(r"bytes=(\d+)-(\d*)", header.strip())
    if match is None:
        raise invalid(f"Invalid Range: {header}")
    span = Span(int(match[1]), int(match[2]) if match[2] else size - 1)
    if not span.first <= span.last < size:
        raise invalid(f"Invalid Range: {header} lies outside the output of {size} bytes")
    return span


def parse_retrieval_range(text: str, size: int) -> Span:
    """Return the range of an Initiate Job request; it must lie in the archive and be megabyte aligned."""
    match = re.fullmatch(r"(\d+)-(\d+)", text)
    if match is None:
        raise invalid(f"Invalid byte range: {text}")
    span = Span(int(match[1]), int(match[2]))
    if not span.first <= span.last < size:
        raise invalid(f"Invalid byte range: {text} lies outside the archive of {size} bytes")
    if not is_mib_aligned(span, size):
        raise invalid(f"Invalid byte range: {text} is not megabyte aligned")
    return span


def check_part_size(text: str | None) -> int:
    """Return the part size of an Initiate Multipart Upload request: 1 MiB times a power of two, 4 GiB at most."""
    if text is None:
        raise missing("x-amz-part-size")
    size = int(text) if text.isascii() and text.isdigit() else 0
    if not MIB <= size <= 4 * GIB or size & (size - 1):
        raise invalid(
            f"Invalid part size: {text}. Part size must not be null, must be a power of two and be between "
            f"{MIB} and {4 * GIB} bytes."
        )
    return size


def check_part(span: Span, length: int, part_size: int) -> None:
    """Raise unless a part fits its upload (Upload Part). A short part that is not the last one is let through."""
    if span.size != length:
        raise invalid(f"Content-Range: bytes {span}/* is incompatible with Content-Length: {length}")
    if span.first % part_size or span.size > part_size:
        raise invalid(f"Content-Range: bytes {span}/* is incompatible with the part size: {part_size}")
    if span.first // part_size >= MAX_PARTS:
        raise invalid(f"Content-Range: bytes {span}/* is beyond the limit of {MAX_PARTS} parts")


def check_assembly(parts: Sequence[Span], size: int) -> None:
    """Raise unless sorted parts make one archive of `size` bytes (Complete Multipart Upload).

    Parts start at multiples of the part size, so a short one before the end shows as a gap too.
    """
    position = 0
    for part in parts:
        if part.first != position:
            raise invalid(f"Missing content range: the part that starts at {position} was not uploaded")
        position = part.last + 1
    if position != size:
        raise invalid(f"The archive size {size} does not match the {position} bytes that were uploaded")


# --- names and texts --------------------------------------------------------------------------------------


def check_vault_name(name: str) -> None:
    """Raise unless a vault may have this name (Create Vault)."""
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,255}", name):
        raise invalid(f"Invalid vault name: {name}")


def check_description(text: str | None, what: str) -> str | None:
    """Return a description without leading spaces; raise unless it is at most 1,024 printable ASCII characters."""
    if text is None:
        return None
    text = text.lstrip(" ")
    if len(text) > MAX_DESCRIPTION or not re.fullmatch(r"[\x20-\x7e]*", text):
        raise invalid(f"Invalid {what}: it must be at most {MAX_DESCRIPTION} characters of printable ASCII")
    return text


def check_digest(text: str | None, name: str) -> str:
    """Return a checksum header, 64 hex digits, in lower case."""
    if text is None:
        raise missing(name)
    if not re.fullmatch(r"[0-9a-fA-F]{64}", text):
        raise invalid(f"Invalid {name}: {text}")
    return text.lower()


def check_topic(arn: str | None) -> None:
    """Raise unless the text is the ARN of an SNS topic. Whether the topic exists is not checked (Initiate Job)."""
    if arn is not None and not re.fullmatch(r"arn:[a-z-]+:sns:[a-z0-9-]+:\d{12}:[A-Za-z0-9_-]{1,256}", arn):
        raise invalid(f"Invalid SNS topic ARN: {arn}")


def page_size(text: str | None) -> int:
    """Return how many items one page holds: 50 unless fewer are asked for.

    The pages disagree on the largest limit (50 or 1,000); up to 1,000 is taken, and never more than 50 returned, which
    both allow ("might be fewer than the specified limit").
    """
    if text is None:
        return MAX_PAGE
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 1000):
        raise invalid(f"Invalid limit: {text}")
    return min(int(text), MAX_PAGE)


def to_marker(position: object) -> str:
    """Return an opaque text for the place where a list continues."""
    return base64.urlsafe_b64encode(json.dumps({"at": position}).encode()).decode().rstrip("=")


def from_marker(marker: str | None) -> Any:
    """Return the place that a marker stands for, None without one; raise for a text that is no marker."""
    if not marker:
        return None
    try:
        return json.loads(base64.urlsafe_b64decode(marker + "=" * (-len(marker) % 4)))["at"]
    except (ValueError, KeyError, TypeError, binascii.Error) as exc:
        raise invalid(f"Invalid marker: {marker}") from exc


def to_date(timestamp: float | None) -> str | None:
    """Return an instant as AWS writes it: 2012-03-20T17:03:43.221Z."""
    if timestamp is None:
        return None
    return datetime.fromtimestamp(timestamp, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def from_date(text: str | None, name: str) -> float | None:
    """Return the instant of an ISO 8601 date in UTC."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as exc:
        raise invalid(f"Invalid {name}: {text}") from exc
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def to_csv(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """Return an inventory as CSV (Get Job Output): quotes get a backslash, and the backslash itself does not."""
    lines = [",".join(columns)]
    lines += [",".join(_csv_field(str(row[column])) for column in columns) for row in rows]
    return "".join(line + "\r\n" for line in lines)


def _csv_field(text: str) -> str:
    if "," in text or '"' in text:
        escaped = text.replace('"', '\\"')
        return f'"{escaped}"'
    return text


def denies_delete(policy: str, age_in_days: float) -> bool:
    """Return whether a vault lock or access policy forbids Delete Archive at this age (Vault Lock Policies).

    Only what such policies usually say is understood: Deny statements on glacier:DeleteArchive or a wildcard,
    with a numeric condition on glacier:ArchiveAgeInDays or none.
    """
    statements = json.loads(policy).get("Statement", [])
    for statement in statements if isinstance(statements, list) else [statements]:
        actions = statement.get("Action", [])
        names = {actions} if isinstance(actions, str) else set(actions)
        named = names & {"glacier:DeleteArchive", "glacier:Delete*", "glacier:*", "*"}
        if statement.get("Effect") == "Deny" and named and _young(statement.get("Condition", {}), age_in_days):
            return True
    return False


def _young(condition: Mapping[str, Mapping[str, Any]], age: float) -> bool:
    tests = {"NumericLessThan": age.__lt__, "NumericLessThanEquals": age.__le__}
    for operator, values in condition.items():
        limit = values.get("glacier:ArchiveAgeInDays")
        if operator not in tests or limit is None or not tests[operator](float(limit)):
            return False
    return True
