"""Back up, change, restore: the main job, on a real database, a real directory and an emulated store."""

from __future__ import annotations

from tests.support.application import ApplicationUnderTest, add_document, titles

ORIGINAL = {"doc1.pdf": b"content 1", "doc2.pdf": b"content 2", "doc3.pdf": b"content 3"}


def test_an_earlier_backup_comes_back_with_its_rows_and_its_files(dms: ApplicationUnderTest) -> None:
    first = dms.back_up()
    before = titles(dms)
    (dms.files / "doc2.pdf").unlink()
    dms.sql("DELETE FROM tags")
    dms.sql("DELETE FROM documents WHERE file = 'doc2.pdf'")
    add_document(dms, "new/doc4.pdf", "content 4")
    second = dms.back_up()
    figures = dms.restore(first)
    assert titles(dms) == before
    assert dms.contents() == ORIGINAL
    assert (dms.orphans / "dms-restore-1" / "new" / "doc4.pdf").read_bytes() == b"content 4"
    assert figures["outcome"]["orphans"]["moved"] == 1
    assert second > first
