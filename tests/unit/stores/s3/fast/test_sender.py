"""What the fast path asks of libcurl."""

from __future__ import annotations

import pycurl
import pytest

from glacier_provider.stores.s3.fast.sender import a_handle
from glacier_provider.stores.s3.fast.shapes import Transport


def test_a_libcurl_that_cannot_choose_how_much_it_sends_at_once_is_good_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not before 7.62; RHEL 8 has 7.61."""
    monkeypatch.delattr(pycurl, "UPLOAD_BUFFERSIZE", raising=False)
    a_handle(Transport("", None, None, None, 10, 10), pycurl)
