"""A Django site with django-filer: files in folders, public and private ones, with thumbnails, by its own views."""

from __future__ import annotations

import json
import os
import sys
from hashlib import sha256
from typing import Any

from tests.foreign.sites.settings import a_picture, a_user, set_up

set_up(
    ["easy_thumbnails", "filer", "polymorphic"],
    FILER_ENABLE_PERMISSIONS=True,
    FILER_STORAGES={  # by default what is private lies beside the directory of media
        "private": {
            "main": {
                "ENGINE": "filer.storage.PrivateFileSystemStorage",
                "OPTIONS": {"location": os.path.join(os.environ["SITE_FILES"], "private"), "base_url": "/smedia/"},
                "UPLOAD_TO": "filer.utils.generate_filename.randomized",
                "UPLOAD_TO_PREFIX": "",
            },
            "thumbnails": {
                "ENGINE": "filer.storage.PrivateFileSystemStorage",
                "OPTIONS": {"location": os.path.join(os.environ["SITE_FILES"], "small"), "base_url": "/small/"},
            },
        }
    },
    THUMBNAIL_CACHE_DIMENSIONS=True,
    THUMBNAIL_PROCESSORS=("easy_thumbnails.processors.colorspace", "easy_thumbnails.processors.scale_and_crop"),
)

from django.contrib import admin
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.urls import include, path
from easy_thumbnails.files import get_thumbnailer
from filer.models import File, Folder
from filer.models import Image as Picture

urlpatterns = [path("admin/", admin.site.urls), path("", include("filer.server.urls"))]


def upload(client: Any, folder: Any, name: str, content: bytes) -> Any:
    answer = client.post(
        f"/admin/filer/clipboard/operations/upload/{folder.pk}/", {"file": SimpleUploadedFile(name, content)}
    )
    assert answer.status_code == 200, answer.content
    return File.objects.get(pk=answer.json()["file_id"])


def set_up_site() -> None:
    call_command("migrate", verbosity=0)
    client = a_user()
    contracts = Folder.objects.create(name="Contracts")
    letters = Folder.objects.create(name="Letters", parent=contracts)
    for number in range(8):
        file = upload(client, letters if number % 2 else contracts, f"paper {number}.txt", f"no {number}".encode() * 99)
        file.is_public = number % 3 > 0  # moves it between the public and the private directory
        file.save()
    for colour in ("red", "green"):
        upload(client, contracts, f"{colour}.png", a_picture(colour))
    _thumbnails(20)


def change() -> None:
    client = a_user()
    letters = Folder.objects.get(name="Letters")
    for name in ("paper 0.txt", "paper 1.txt"):
        File.objects.get(original_filename=name).delete()
    turned = File.objects.get(original_filename="paper 2.txt")
    turned.is_public = not turned.is_public
    turned.save()
    rewritten = File.objects.get(original_filename="paper 4.txt")
    rewritten.file = SimpleUploadedFile("paper 4.txt", b"another contract")
    rewritten.save()
    upload(client, letters, "paper 0.txt", b"a new letter of an old name")
    Picture.objects.get(original_filename="red.png").delete()
    _thumbnails(30)
    letters.name = "Old letters"
    letters.save()


def _thumbnails(size: int) -> None:
    for picture in Picture.objects.all():
        get_thumbnailer(picture.file).get_thumbnail({"size": (size, size)})


def opened() -> dict[str, Any]:
    """Everything that can be opened, by what people call it."""
    client = a_user()
    found: dict[str, Any] = {}
    for file in File.objects.order_by("pk"):
        content = file.file.open().read()
        assert len(content) == file.size
        where = [folder.name for folder in file.logical_path]
        found[f"file {file.pk} {file.original_filename}"] = [sha256(content).hexdigest(), file.is_public, where]
        if not file.is_public:
            served = client.get(file.url)
            assert served.status_code == 200, file.url
            assert b"".join(served) == content
    for picture in Picture.objects.order_by("pk"):
        found[f"picture {picture.pk}"] = [picture.width, picture.height, sorted(_thumbnails_of(picture))]
    return {**found, "admin": client.get("/admin/filer/folder/", follow=True).status_code}


def _thumbnails_of(picture: Any) -> list[str]:
    thumbnailer = get_thumbnailer(picture.file)
    there = [it for it in thumbnailer.get_thumbnails() if it.storage.exists(it.name)]
    return [sha256(it.storage.open(it.name).read()).hexdigest() for it in there]


COMMANDS = {"set_up": set_up_site, "change": change, "open": opened}

if __name__ == "__main__":
    for command in sys.argv[1:]:
        print(json.dumps(COMMANDS[command]()))
