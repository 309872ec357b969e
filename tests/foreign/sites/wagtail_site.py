"""A Wagtail site: documents and images that its own admin takes, changes and deletes, and that its own views serve."""

from __future__ import annotations

import json
import sys
from hashlib import sha256
from typing import Any

from tests.foreign.sites.settings import a_picture, a_user, set_up

WAGTAIL = ["documents", "images", "search", "users", "admin", "sites", "snippets", "embeds", "contrib.redirects"]
set_up(
    [*(f"wagtail.{name}" for name in WAGTAIL), "wagtail", "taggit", "modelcluster"],
    WAGTAIL_SITE_NAME="Handbook",
    WAGTAILADMIN_BASE_URL="http://testserver",
    WAGTAILDOCS_SERVE_METHOD="serve_view",
    WAGTAILSEARCH_BACKENDS={"default": {"BACKEND": "wagtail.search.backends.database"}},
)

from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.urls import include, path
from wagtail.admin import urls as admin_urls
from wagtail.documents import urls as document_urls
from wagtail.documents.models import Document
from wagtail.images.models import Image
from wagtail.models import Page, ReferenceIndex

urlpatterns = [path("admin/", include(admin_urls)), path("documents/", include(document_urls))]


def upload(client: Any, kind: str, title: str, name: str, content: bytes) -> None:
    answer = client.post(
        f"/admin/{kind}/add/", {"title": title, "file": SimpleUploadedFile(name, content), "collection": 1}
    )
    assert answer.status_code == 302, answer.content[:2000]


def set_up_site() -> None:
    call_command("migrate", verbosity=0)
    client = a_user()
    for number in range(12):
        upload(client, "documents", f"Guide {number}", f"guide {number}.pdf", f"chapter {number}".encode() * 100)
    for colour in ("red", "green", "blue"):
        upload(client, "images", colour, f"{colour}.png", a_picture(colour))
    for image in Image.objects.all():
        image.get_rendition("width-32")
    root = Page.get_first_root_node()
    for number in range(5):
        root.add_child(instance=Page(title=f"Page {number}", slug=f"page-{number}")).save_revision().publish()
    ReferenceIndex.objects.count()


def change() -> None:
    """A week of work: documents replaced, deleted and added, an image that is another, pages that moved and went."""
    client = a_user()
    replaced = Document.objects.get(title="Guide 1")
    answer = client.post(
        f"/admin/documents/edit/{replaced.pk}/",
        {"title": "Guide 1, new", "file": SimpleUploadedFile("guide 1.pdf", b"rewritten"), "collection": 1},
    )
    assert answer.status_code == 302, answer.content[:2000]
    for title in ("Guide 2", "Guide 3"):
        assert client.post(f"/admin/documents/delete/{Document.objects.get(title=title).pk}/").status_code == 302
    # Another document under a name that is free now.
    upload(client, "documents", "Guide 2 again", "guide 2.pdf", b"of another year")
    red = Image.objects.get(title="red")
    assert client.post(f"/admin/images/{red.pk}/delete/").status_code == 302
    upload(client, "images", "red again", "red.png", a_picture("darkred", 80))
    for image in Image.objects.all():
        image.get_rendition("width-48")
    Page.objects.get(slug="page-1").delete()
    Page.objects.get(slug="page-2").move(Page.objects.get(slug="page-3"), pos="last-child")


def opened() -> dict[str, Any]:
    """Everything that a visitor or an editor can open, by what they call it."""
    client = a_user()
    found: dict[str, Any] = {}
    for document in Document.objects.order_by("pk"):
        answer = client.get(document.url)
        assert answer.status_code == 200, document.url
        found[f"document {document.pk} {document.title}"] = sha256(b"".join(answer.streaming_content)).hexdigest()
        assert document.file_hash in ("", document._hash() if hasattr(document, "_hash") else document.file_hash)
    for image in Image.objects.order_by("pk"):
        pictures = [image.file, *(rendition.file for rendition in image.renditions.order_by("pk"))]
        found[f"image {image.pk} {image.title}"] = [sha256(file.open().read()).hexdigest() for file in pictures]
    for page in Page.objects.order_by("path"):
        found[f"page {page.path}"] = [page.title, page.url_path, page.revisions.count(), page.live]
    hits = [page.title for page in Page.objects.search("Page", order_by_relevance=False)]
    return {**found, "search": sorted(hits), "admin": client.get("/admin/documents/").status_code}


COMMANDS = {"set_up": set_up_site, "change": change, "open": opened}

if __name__ == "__main__":
    for command in sys.argv[1:]:
        print(json.dumps(COMMANDS[command]()))
