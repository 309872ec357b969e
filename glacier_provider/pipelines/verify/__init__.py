"""The verification of what sleeps in the stores, in the order of its tasks; nothing is brought back for it.

`open_verification` → `verify_listing` → `close_verification`.
"""

from __future__ import annotations

from glacier_provider.pipelines.verify.close import close_verification, raise_unproven
from glacier_provider.pipelines.verify.listing import verify_listing
from glacier_provider.pipelines.verify.open import open_verification

__all__ = ["close_verification", "open_verification", "raise_unproven", "verify_listing"]
