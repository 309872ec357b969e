"""What is no file and stands where a restore is to bring one: found out before anything is asked for."""

from __future__ import annotations

import os
import re
import shutil

import pytest

from glacier_provider.errors import NameTaken
from tests.support.application import ApplicationUnderTest


@pytest.fixture
def app(dms: ApplicationUnderTest) -> ApplicationUnderTest:
    dms.configure(settle_seconds=0)
    return dms


def test_what_stands_in_the_way_is_named_in_the_plan_and_nothing_is_paid(app: ApplicationUnderTest) -> None:
    names = ("link.pdf", "pipe.pdf", "folder.pdf", ".hidden/deep/a.pdf", "linked/b.pdf", "file/c.pdf", "free/new/d.pdf")
    for name in names:
        app.write(name, name)
    backup_id = app.back_up()
    shutil.rmtree(app.files)
    app.files.mkdir()
    os.symlink("/etc/passwd", app.files / "link.pdf")
    os.mkfifo(app.files / "pipe.pdf")
    app.write("folder.pdf/inside", "x")
    app.write(".hidden/deep", "a file in the place of a directory")
    os.symlink("/tmp", app.files / "linked")
    app.write("file", "another")
    app.write("free/other.pdf", "a file beside")
    with pytest.raises(NameTaken) as caught:
        app.plan(backup_id)
    told = {
        "link.pdf (it is a symbolic link)",
        "pipe.pdf (it is a named pipe)",
        "folder.pdf (it is a directory)",
        ".hidden/deep (it is a file)",
        "linked (it is a symbolic link)",
        "file (it is a file)",
    }
    named = re.search(r"of the backup: (.*)\. Nothing was asked for", str(caught.value))
    assert named is not None
    assert named[1].endswith("and 1 more")
    assert set(named[1].removesuffix(" and 1 more").split(", ")) < told
    assert app.s3.count("RestoreObject", bucket=app.bucket) == 0
    shutil.rmtree(app.files)
    app.files.mkdir()
    app.restore(backup_id)
    assert set(names) < set(app.contents())


def test_a_restore_elsewhere_is_not_hindered_by_what_is_here(app: ApplicationUnderTest) -> None:
    app.write("a.pdf", "a")
    backup_id = app.back_up()
    (app.files / "a.pdf").unlink()
    os.symlink("doc1.pdf", app.files / "a.pdf")
    with pytest.raises(NameTaken, match=r"a\.pdf \(it is a symbolic link\)"):
        app.plan(backup_id, part="files")
    app.plan(backup_id, part="database")
