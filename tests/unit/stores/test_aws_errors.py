from __future__ import annotations

from typing import Any

import pytest
import urllib3.exceptions
from botocore import exceptions
from botocore.parsers import ResponseParserError

from glacier_provider.errors import (
    ArchiveCold,
    ArchiveCorrupt,
    ArchiveMissing,
    FileChanged,
    RetrievalRefused,
    StoreDenied,
    StoreError,
    StoreMissing,
    StoreUnavailable,
)
from glacier_provider.stores.aws_errors import aws_errors, error_code, http_status


def reply(code: str, status: int = 400, message: str = "AWS says so") -> exceptions.ClientError:
    response: Any = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return exceptions.ClientError(response, "PutObject")


def translated(error: Exception, **options: Any) -> StoreError:
    with pytest.raises(StoreError) as caught, aws_errors("s3:PutObject", "s3://bucket/key", **options):
        raise error
    assert caught.value.__cause__ is error
    return caught.value


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (reply("AccessDenied", 403), StoreDenied),
        (reply("403", 403), StoreDenied),
        (reply("InvalidAccessKeyId", 403), StoreDenied),
        (reply("SignatureDoesNotMatch", 403), StoreDenied),
        (reply("ExpiredToken", 400), StoreDenied),
        (reply("AccessDeniedException", 403), StoreDenied),
        (reply("NoLongerSupportedException", 400), StoreDenied),
        (reply("SomethingNew", 403), StoreDenied),
        (reply("NoSuchBucket", 404), StoreMissing),
        (reply("PermanentRedirect", 301), StoreMissing),
        (reply("NoSuchKey", 404), ArchiveMissing),
        (reply("InvalidObjectState", 403), ArchiveCold),
        (reply("BadDigest", 400), ArchiveCorrupt),
        (reply("SlowDown", 503), StoreUnavailable),
        (reply("ThrottlingException", 400), StoreUnavailable),
        (reply("RequestTimeoutException", 408), StoreUnavailable),
        (reply("InternalError", 500), StoreUnavailable),
        (reply("SomethingNew", 502), StoreUnavailable),
        (reply("TemporaryRedirect", 307), StoreUnavailable),
        (reply("307", 307), StoreUnavailable),
        (reply("IncompleteBody", 400), StoreUnavailable),
        (reply("OperationAborted", 409), StoreUnavailable),
        (reply("NotImplemented", 501), StoreError),
        (reply("KMS.DisabledException", 400), StoreDenied),
        (reply("429", 429), StoreUnavailable),
        (reply("GlacierExpeditedRetrievalNotAvailable", 503), RetrievalRefused),
        (reply("PolicyEnforcedException", 400), RetrievalRefused),
        (reply("InsufficientCapacityException", 503), RetrievalRefused),
        (reply("InvalidArgument", 400), StoreError),
        (exceptions.NoCredentialsError(), StoreDenied),
        (exceptions.PartialCredentialsError(provider="env", cred_var="secret"), StoreDenied),
        (exceptions.EndpointConnectionError(endpoint_url="http://x"), StoreUnavailable),
        (exceptions.ReadTimeoutError(endpoint_url="http://x"), StoreUnavailable),
        (exceptions.ConnectTimeoutError(endpoint_url="http://x"), StoreUnavailable),
        (exceptions.ConnectionClosedError(endpoint_url="http://x"), StoreUnavailable),
        (exceptions.SSLError(endpoint_url="http://x", error="bad"), StoreUnavailable),
        (exceptions.ResponseStreamingError(error="cut"), StoreUnavailable),
        (exceptions.IncompleteReadError(actual_bytes=1, expected_bytes=2), StoreUnavailable),
        (exceptions.FlexibleChecksumError(error_msg="differs"), ArchiveCorrupt),
        (exceptions.ParamValidationError(report="bad name"), StoreError),
        (ResponseParserError("not XML"), StoreUnavailable),
        (UnicodeDecodeError("utf-8", b"{\xdd}", 1, 2, "invalid continuation byte"), StoreUnavailable),
        (urllib3.exceptions.ProtocolError("broken"), StoreUnavailable),
        (ConnectionResetError(), StoreUnavailable),
    ],
    ids=lambda value: repr(value)[:70] if isinstance(value, Exception) else None,
)
def test_every_foreign_error_has_one_of_ours(error: Exception, expected: type[StoreError]) -> None:
    assert type(translated(error)) is expected


def test_the_message_names_operation_subject_and_aws_own_words() -> None:
    error = translated(reply("AccessDenied", 403, "User x may not do this"))
    assert error.message == "s3:PutObject on s3://bucket/key was answered with AccessDenied: User x may not do this."
    assert "permissions" in error.hint


def test_some_codes_say_what_to_do() -> None:
    assert "s3://" in translated(reply("NoLongerSupportedException")).hint
    assert "Standard" in translated(reply("InsufficientCapacityException", 503)).hint
    assert "kms_key_id" in translated(reply("KMS.KMSInvalidStateException", 400)).hint
    assert "region" in translated(reply("PermanentRedirect", 301)).hint


def test_a_call_can_give_a_code_its_own_meaning() -> None:
    codes = {"ResourceNotFoundException": ArchiveMissing}
    assert type(translated(reply("ResourceNotFoundException", 404), codes=codes)) is ArchiveMissing
    assert type(translated(reply("ResourceNotFoundException", 404))) is StoreError


def test_only_what_may_pass_by_itself_is_retryable() -> None:
    assert translated(reply("SlowDown", 503)).retryable
    assert not translated(reply("AccessDenied", 403)).retryable
    assert not translated(reply("InvalidArgument", 400)).retryable


def test_our_own_error_comes_out_of_botocores_wrapping() -> None:
    own = FileChanged("a.txt became shorter.")
    with pytest.raises(FileChanged) as caught, aws_errors("s3:PutObject", "s3://bucket/key"):
        raise exceptions.HTTPClientError(error=own)
    assert caught.value is own


def test_our_errors_and_bugs_pass_unchanged() -> None:
    for error in (StoreMissing("gone."), KeyError("bug"), KeyboardInterrupt()):
        with pytest.raises(type(error)) as caught, aws_errors("s3:PutObject", "s3://bucket/key"):
            raise error
        assert caught.value is error


def test_secrets_of_a_wrong_signature_stay_out_of_the_message() -> None:
    error = reply("SignatureDoesNotMatch", 403, "The request signature does not match.")
    error.response["Error"]["StringToSign"] = "AWS4-HMAC-SHA256 planted"
    assert "planted" not in str(translated(error))


def test_codes_and_statuses_are_read_from_replies_without_a_body() -> None:
    error = exceptions.ClientError(
        {"Error": {"Code": "404"}, "ResponseMetadata": {"HTTPStatusCode": 404}}, "HeadObject"
    )
    assert (error_code(error), http_status(error)) == ("404", 404)
    assert (error_code(exceptions.ClientError({}, "X")), http_status(exceptions.ClientError({}, "X"))) == ("", 0)
