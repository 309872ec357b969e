"""The names that the database knows are kept with the dump, for a scan that may run after a crash."""

from __future__ import annotations

from pathlib import Path

import pytest

from glacier_provider.pipelines.backup.references import references_file
from tests.support.application import an_application
from tests.support.durable import listen_to_fsync


def test_names_are_on_the_disk_before_a_scan_can_find_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    application = an_application(tmp_path, store="s3://bucket", references_query="SELECT file FROM documents")
    synced = listen_to_fsync(monkeypatch, tmp_path / "references")
    with references_file(application, tmp_path) as keep:
        assert keep is not None
        keep(["a.pdf", "b.pdf"])
    assert synced == [(b"a.pdf\0b.pdf\0", (False,))]
    assert (tmp_path / "references").read_bytes() == b"a.pdf\0b.pdf\0"
