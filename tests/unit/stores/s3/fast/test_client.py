"""The fast path's requests: of botocore's shape, with the signature that botocore would make."""

from __future__ import annotations

import hashlib
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore import UNSIGNED
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from hypothesis import given
from hypothesis import strategies as st

from glacier_provider.core.store_uri import S3Uri, parse_store_uri
from glacier_provider.stores.s3.bucket import Bucket
from glacier_provider.stores.s3.fast.client import FastPath
from glacier_provider.stores.s3.fast.requests import Requests, Signer
from glacier_provider.stores.s3.fast.sender import Reply, Request
from glacier_provider.stores.s3.fast.shapes import Credentials, Shape, Transport, as_plain, from_plain

EXAMPLE = Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")


def a_fast_path(
    uri: str = "s3://bucket/pre?storage_class=GLACIER", *, token: str | None = None, **options: Any
) -> FastPath:
    place = parse_store_uri(uri)
    assert isinstance(place, S3Uri)
    session = boto3.session.Session(EXAMPLE.access_key, EXAMPLE.secret_key, token, region_name="eu-central-1")
    return FastPath(Bucket(place, session.client("s3", **options)))


def the_shape(fast_path: FastPath) -> Shape:
    found = fast_path.puts()
    assert found is not None
    return found[0]


def test_the_example_of_the_documentation_gets_its_signature() -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html, GET Object."""
    nothing = hashlib.sha256(b"").hexdigest()
    headers = [
        ("host", "examplebucket.s3.amazonaws.com"),
        ("range", "bytes=0-9"),
        ("x-amz-content-sha256", nothing),
        ("x-amz-date", "20130524T000000Z"),
    ]
    signer = Signer(EXAMPLE, region="us-east-1", service="s3")
    made = signer.authorization("GET", "/test.txt", "", headers, payload=nothing, stamp="20130524T000000Z")
    assert made.endswith("Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41")


KEYS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=40)
QUERIES = st.lists(st.tuples(st.sampled_from(["uploadId", "partNumber"]), KEYS), max_size=2, unique_by=lambda q: q[0])


@given(key=KEYS, query=QUERIES, body=st.binary(max_size=100), token=st.sampled_from([None, "a token"]))
def test_a_request_is_signed_as_botocore_signs_it(
    key: str, query: list[tuple[str, str]], body: bytes, token: str | None
) -> None:
    transport = Transport("", None, None, None, 10, 10)
    headers = (("if-none-match", "*"), ("x-amz-storage-class", "GLACIER"))
    shape = Shape("PUT", "https://s3.test", "s3.test", "/bucket/", headers, "eu-central-1", "s3", transport)
    credentials = Credentials(EXAMPLE.access_key, EXAMPLE.secret_key, token)
    request = Requests(shape, credentials).make(
        key, [("x-amz-meta-name", key)], query=query, body=body, payload=hashlib.sha256(body).hexdigest()
    )
    assert _lines(request)["authorization"] == _signed_by_botocore(request, credentials)


def _signed_by_botocore(request: Request, credentials: Credentials) -> str:
    lines = _lines(request)
    signed = {name: value for name, value in lines.items() if name.startswith("x-amz-")}
    theirs = AWSRequest(request.method, request.url, headers=signed, data=request.body)
    theirs.context["timestamp"] = lines["x-amz-date"]
    theirs.context["payload_signing_enabled"] = True
    auth = S3SigV4Auth(_Frozen(credentials), "s3", "eu-central-1")
    canonical = auth.canonical_request(theirs)
    names = auth.signed_headers(auth.headers_to_sign(theirs))
    signature = auth.signature(auth.string_to_sign(theirs, canonical), theirs)
    return f"AWS4-HMAC-SHA256 Credential={auth.scope(theirs)}, SignedHeaders={names}, Signature={signature}"


class _Frozen:
    def __init__(self, credentials: Credentials) -> None:
        self.access_key, self.secret_key = credentials.access_key, credentials.secret_key
        self.token = credentials.token


def _lines(request: Request) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in request.headers if ": " in line)


def test_what_the_store_uri_says_is_in_every_request() -> None:
    uri = "s3://bucket/pre?storage_class=DEEP_ARCHIVE&sse=aws:kms&kms_key_id=alias/backups"
    headers = dict(the_shape(a_fast_path(uri)).headers)
    assert headers["x-amz-storage-class"] == "DEEP_ARCHIVE"
    assert headers["x-amz-server-side-encryption"] == "aws:kms"
    assert headers["x-amz-server-side-encryption-aws-kms-key-id"] == "alias/backups"
    assert headers["if-none-match"] == "*"


def test_no_request_carries_the_stand_ins_own_headers() -> None:
    names = {name for name, _ in the_shape(a_fast_path(token="a token")).headers}
    assert not {name for name in names if name.startswith(("x-amz-meta-", "x-amz-checksum-", "amz-sdk", "content-"))}
    assert not names & {"authorization", "host", "expect", "x-amz-date", "x-amz-security-token", "x-amz-content-sha256"}


@pytest.mark.parametrize(
    ("options", "origin", "path"),
    [
        ({}, "https://bucket.s3.eu-central-1.amazonaws.com", "/"),
        ({"config": Config(s3={"addressing_style": "path"})}, "https://s3.eu-central-1.amazonaws.com", "/bucket/"),
        ({"endpoint_url": "http://127.0.0.1:9000"}, "http://127.0.0.1:9000", "/bucket/"),
        ({"config": Config(s3={"use_accelerate_endpoint": True})}, "https://bucket.s3-accelerate.amazonaws.com", "/"),
    ],
)
def test_requests_go_where_botocore_sends_them(options: dict[str, Any], origin: str, path: str) -> None:
    shape = the_shape(a_fast_path(**options))
    assert (shape.origin, shape.path, shape.host) == (origin, path, urlsplit(origin).netloc)
    assert (shape.method, shape.region, shape.service) == ("PUT", "eu-central-1", "s3")


def test_proxies_certificates_and_timeouts_are_those_of_the_client(tmp_path: Any) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.touch()
    config = Config(proxies={"https": "http://proxy:3128"}, connect_timeout=3, read_timeout=7, client_cert="/cert.pem")
    transport = the_shape(a_fast_path(config=config, verify=str(bundle))).transport
    assert transport == Transport("http://proxy:3128", str(bundle), "/cert.pem", None, 3, 7)


def test_proxies_of_the_environment_count_unless_the_host_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy:3128")
    assert the_shape(a_fast_path()).transport.proxy == "http://proxy:3128"
    monkeypatch.setenv("no_proxy", "amazonaws.com")
    assert the_shape(a_fast_path()).transport.proxy == ""


def test_certificates_that_are_not_verified_by_botocore_are_not_verified() -> None:
    assert the_shape(a_fast_path(verify=False)).transport.ca_file is None
    assert the_shape(a_fast_path()).transport.ca_file


@pytest.mark.parametrize(
    "config",
    [
        Config(signature_version=UNSIGNED),
        Config(proxies={"https": "http://proxy"}, proxies_config={"proxy_ca_bundle": "/ca.pem"}),
    ],
)
def test_unusual_requests_have_no_fast_path(config: Config) -> None:
    fast_path = a_fast_path(config=config)
    assert fast_path.puts() is None
    assert fast_path.read("key", 0, 1, lambda data: None) == 0
    assert fast_path.send_part("key", "upload", 1, b"", b"") is None


def test_without_libcurl_there_is_no_fast_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("glacier_provider.stores.s3.fast.client.find_spec", lambda name: None)
    assert a_fast_path().puts() is None


def test_asking_for_a_shape_sends_nothing_and_leaves_the_client_as_it_was() -> None:
    fast_path = a_fast_path(endpoint_url="http://127.0.0.1:9")  # nobody listens there
    assert the_shape(fast_path) == the_shape(fast_path)
    with pytest.raises(Exception, match="Could not connect"):
        fast_path.bucket.client.put_object(Bucket="bucket", Key="key", Body=b"")


def test_a_shape_survives_the_way_to_another_process() -> None:
    shape = the_shape(a_fast_path())
    assert from_plain(as_plain(shape)) == shape


def test_credentials_are_never_shown() -> None:
    told = repr(Credentials("AKIA", "secret", "token"))
    assert "secret'" not in told
    assert "token'" not in told


def test_the_last_answers_headers_count() -> None:
    head = b'HTTP/1.1 100 Continue\r\nETag: "first"\r\n\r\nHTTP/1.1 200 OK\r\netag:  "second" \r\n\r\n'
    assert Reply(200, head, []).header("ETag") == '"second"'
    assert Reply(200, head, []).header("x-amz-checksum-sha256") is None


@pytest.mark.parametrize(("status", "throttled"), [(0, True), (200, False), (403, False), (412, False), (429, True)])
def test_a_store_in_trouble_is_told_from_a_request_that_is_wrong(status: int, throttled: bool) -> None:
    assert Reply(status, b"", []).is_throttled is throttled
