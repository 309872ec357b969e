from __future__ import annotations

from typing import Any

from glacier_provider.core.store_uri import S3Uri
from glacier_provider.stores.s3.bucket import Bucket
from glacier_provider.stores.s3.upload import abort_uploads

KEY = "dms/film.mp4"


class PagingClient:
    """A bucket that tells of its uploads two at a time, as S3 does a thousand at a time."""

    def __init__(self, *uploads: tuple[str, str]) -> None:
        self.uploads = list(uploads)

    def list_multipart_uploads(
        self, *, Bucket: str, Prefix: str, KeyMarker: str = "", UploadIdMarker: str = ""
    ) -> dict[str, Any]:
        assert Bucket == "archive"
        found = sorted(each for each in self.uploads if each[0].startswith(Prefix))
        after = [each for each in found if each > (KeyMarker, UploadIdMarker)]
        page = [{"Key": key, "UploadId": upload_id} for key, upload_id in after[:2]]
        if len(after) <= 2:
            return {"IsTruncated": False} | ({"Uploads": page} if page else {})
        key, upload_id = after[1]
        return {"IsTruncated": True, "Uploads": page, "NextKeyMarker": key, "NextUploadIdMarker": upload_id}

    def abort_multipart_upload(self, *, Bucket: str, Key: str, UploadId: str) -> None:
        assert Bucket == "archive"
        self.uploads.remove((Key, UploadId))


def the_bucket(client: PagingClient) -> Bucket:
    return Bucket(S3Uri("archive", "dms"), client)


def test_all_pages_of_forgotten_uploads_are_aborted_and_no_other_key_is_touched() -> None:
    other = (f"{KEY}.part", "u9")
    client = PagingClient(*[(KEY, f"u{number}") for number in range(5)], other)
    abort_uploads(the_bucket(client), KEY, but="u3")
    assert client.uploads == [(KEY, "u3"), other]


def test_a_key_without_uploads_has_none_to_abort() -> None:
    client = PagingClient(("dms/other", "u1"))
    abort_uploads(the_bucket(client), KEY)
    assert client.uploads == [("dms/other", "u1")]
