"""The verification of what sleeps in the stores, in the order of its tasks; nothing is brought back for it.

`open_verification` → `verify_listing` → `request_checksums` → `poll_checksums`, as often as it takes →
`read_checksums` → `close_verification`; those of the checksums where content is to be verified on S3.
"""

from __future__ import annotations

from glacier_provider.pipelines.verify.close import close_verification, raise_unproven
from glacier_provider.pipelines.verify.content import (
    Checking,
    clear_jobs,
    due_before,
    estimated,
    poll_checksums,
    read_checksums,
    request_checksums,
)
from glacier_provider.pipelines.verify.listing import verify_listing
from glacier_provider.pipelines.verify.open import method_of, open_verification

__all__ = [
    "Checking",
    "clear_jobs",
    "close_verification",
    "due_before",
    "estimated",
    "method_of",
    "open_verification",
    "poll_checksums",
    "raise_unproven",
    "read_checksums",
    "request_checksums",
    "verify_listing",
]
