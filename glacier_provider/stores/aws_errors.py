"""The one place where botocore's errors become ours. Both stores use it.

    with aws_errors("s3:PutObject", "s3://bucket/key"):
        client.put_object(...)

Codes: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html and
https://docs.aws.amazon.com/amazonglacier/latest/dev/api-error-responses.html. A code that means something to one call
only is caught by that call itself (see `error_code`) or named in `codes`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from glacier_provider.errors import (
    ArchiveCold,
    ArchiveCorrupt,
    ArchiveMissing,
    GlacierProviderError,
    RetrievalRefused,
    StoreDenied,
    StoreError,
    StoreMissing,
    StoreUnavailable,
    StoreUntrusted,
)

_DENIED = """
    403 AccessDenied AccessDeniedException AccountProblem AllAccessDisabled AuthFailure ExpiredToken
    ExpiredTokenException Forbidden IncompleteSignature InvalidAccessKeyId InvalidClientTokenId InvalidSecurity
    InvalidSignature InvalidSignatureException InvalidToken MissingAuthenticationToken
    MissingAuthenticationTokenException NoLongerSupportedException NotSignedUp OptInRequired RequestExpired
    RequestTimeTooSkewed SignatureDoesNotMatch TokenRefreshRequired UnrecognizedClientException
"""
_UNAVAILABLE = """
    307 408 429 BandwidthLimitExceeded ConditionalRequestConflict IncompleteBody InternalError InternalFailure
    InternalServerError OperationAborted PriorRequestNotComplete ProvisionedThroughputExceededException
    Redirect RequestLimitExceeded RequestThrottled RequestThrottledException RequestTimeout
    RequestTimeoutException ServiceUnavailable ServiceUnavailableException SlowDown TemporaryRedirect
    ThrottledException Throttling ThrottlingException TooManyRequests TooManyRequestsException
    TransactionInProgressException
"""
_WRONG_REGION = "301 AuthorizationHeaderMalformed IllegalLocationConstraintException PermanentRedirect"
_CORRUPT = "BadDigest InvalidDigest XAmzContentChecksumMismatch XAmzContentSHA256Mismatch"
_OF_THE_KEY = "KMS.DisabledException KMS.InvalidKeyUsageException KMS.KMSInvalidStateException KMS.NotFoundException"
_REFUSED = "GlacierExpeditedRetrievalNotAvailable InsufficientCapacityException PolicyEnforcedException"

_CLASSES: Mapping[str, type[StoreError]] = {
    **dict.fromkeys(_DENIED.split(), StoreDenied),
    **dict.fromkeys(_UNAVAILABLE.split(), StoreUnavailable),
    **dict.fromkeys(_WRONG_REGION.split(), StoreMissing),
    **dict.fromkeys(_CORRUPT.split(), ArchiveCorrupt),
    **dict.fromkeys(_OF_THE_KEY.split(), StoreDenied),
    **dict.fromkeys(_REFUSED.split(), RetrievalRefused),
    "NoSuchBucket": StoreMissing,
    "NotImplemented": StoreError,
    "NoSuchKey": ArchiveMissing,
    "InvalidObjectState": ArchiveCold,
}

_HINTS: Mapping[str, str] = {
    **dict.fromkeys(_WRONG_REGION.split(), "The bucket is in another Region: set region in the store URI."),
    **dict.fromkeys(_CORRUPT.split(), "Nothing was stored; the upload is tried again."),
    **dict.fromkeys(
        _OF_THE_KEY.split(),
        "It is about the key of KMS that encrypts (kms_key_id of the store URI, or the bucket's default): enable it, "
        "or cancel its deletion; without it nothing that it encrypted can be read again.",
    ),
    "NotImplemented": "Use a store that implements S3's API as AWS documents it.",
    "ExpiredToken": "The credentials have expired: renew those of the AWS connection.",
    "ExpiredTokenException": "The credentials have expired: renew those of the AWS connection.",
    **dict.fromkeys(
        ("InvalidToken", "InvalidClientTokenId", "UnrecognizedClientException"),
        "AWS does not know the access key or the session token of the AWS connection: renew them.",
    ),
    "RequestTimeTooSkewed": "The clock of this worker is wrong: synchronise it.",
    "RequestExpired": "The clock of this worker is wrong: synchronise it.",
    "InvalidAccessKeyId": "The AWS connection names an access key that AWS does not know.",
    "SignatureDoesNotMatch": "The secret key of the AWS connection is wrong.",
    "InvalidSignatureException": "The secret key of the AWS connection or the clock of this worker is wrong.",
    "GlacierExpeditedRetrievalNotAvailable": "Use the Standard tier, or try again later.",
    "InsufficientCapacityException": "Use the Standard tier, or try again later.",
    "PolicyEnforcedException": "The account's data retrieval policy forbids it: wait, or change the policy.",
    "NoLongerSupportedException": "AWS closed vaults to accounts without vault storage: use an s3:// store URI.",
}

_CREDENTIAL_ERRORS = """
    CredentialRetrievalError InvalidConfigError LoginTokenLoadError NoAuthTokenError NoCredentialsError
    PartialCredentialsError ProfileNotFound RefreshWithMFAUnsupportedError SSOTokenLoadError TokenRetrievalError
    UnauthorizedSSOTokenError
"""


#: What OpenSSL, or urllib3, finds wrong with a certificate.
_UNTRUSTED = re.compile(r"(?:certificate verify failed: |(?=hostname '|IP address mismatch))([^(\n]+)", re.IGNORECASE)


@contextmanager
def aws_errors(operation: str, subject: str, *, codes: Mapping[str, type[StoreError]] | None = None) -> Iterator[None]:
    """Turn what botocore raises inside into the `StoreError` family.

    `operation` is the permission that the call needs (`s3:PutObject`), `subject` what it is about
    (`s3://bucket/key`); both stand in the message. `codes` says what a code means to this call, before the common
    table. An error of our own that botocore wrapped (a source that fails while it is being sent) comes out as it was.
    """
    import urllib3.exceptions
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError

    try:
        yield
    except ClientError as exc:
        raise _from_reply(exc, operation, subject, codes or {}) from exc
    except BotoCoreError as exc:
        raise _from_client_side(exc, operation, subject) from exc
    except UnicodeDecodeError as exc:  # botocore's, of an error reply that was damaged on its way
        raise StoreUnavailable(f"{operation} on {subject}: the reply cannot be read.") from exc
    except (ResponseParserError, urllib3.exceptions.HTTPError, ConnectionError, TimeoutError) as exc:
        raise StoreUnavailable(f"{operation} on {subject}: the connection broke ({type(exc).__name__}).") from exc


def error_code(error: Any) -> str:
    """Return the code of a botocore ClientError; the HTTP status as text where a reply has no body (HEAD)."""
    return str(error.response.get("Error", {}).get("Code", ""))


def http_status(error: Any) -> int:
    """Return the HTTP status of a botocore ClientError, 0 if it has none."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _from_reply(error: Any, operation: str, subject: str, codes: Mapping[str, type[StoreError]]) -> StoreError:
    code = error_code(error)
    words = str(error.response.get("Error", {}).get("Message", "")).strip()[:300]
    answer = f"{code}: {words}" if words and words != code else code
    found = codes.get(code) or _CLASSES.get(code) or _by_status(http_status(error))
    return found(f"{operation} on {subject} was answered with {_sentence(answer)}", hint=_HINTS.get(code))


def _by_status(status: int) -> type[StoreError]:
    if status >= 500 or status in (408, 429):
        return StoreUnavailable
    return StoreDenied if status in (401, 403) else StoreError


def _from_client_side(error: Any, operation: str, subject: str) -> GlacierProviderError:
    from botocore import exceptions

    inner = error.kwargs.get("error") if isinstance(getattr(error, "kwargs", None), dict) else None
    if isinstance(inner, GlacierProviderError):
        return inner
    kind = type(error).__name__
    if kind in _CREDENTIAL_ERRORS.split():
        return StoreDenied(f"{operation} on {subject}: no usable AWS credentials ({kind}).")
    if isinstance(error, exceptions.ChecksumError | exceptions.FlexibleChecksumError):
        return ArchiveCorrupt(f"{operation} on {subject}: the bytes differ from the store's checksum.")
    if isinstance(error, exceptions.SSLError) and (why := _UNTRUSTED.search(str(error))):
        return _untrusted(why[1].strip(" .,"), f"{operation} on {subject}: the server's certificate")
    if isinstance(error, _transport_errors()):
        return StoreUnavailable(f"{operation} on {subject}: {_sentence(_told(error))}")
    return StoreError(f"{operation} on {subject}: {_sentence(_told(error))}")


def _untrusted(why: str, what: str) -> StoreUntrusted:
    if re.search(r"match|not valid for", why):
        return StoreUntrusted(
            f"{what} is for another name ({why}).",
            hint="Have the endpoint of the AWS connection use the name that the certificate is for. Nothing was sent.",
        )
    if "expired" in why or "not yet valid" in why:
        return StoreUntrusted(
            f"{what} is not valid now ({why}).",
            hint="It has to be renewed, or the clock of this worker is wrong. Nothing was sent.",
        )
    return StoreUntrusted(f"{what} is not trusted ({why}).")


def _transport_errors() -> tuple[type[Exception], ...]:
    from botocore import exceptions

    return (exceptions.HTTPClientError, exceptions.ConnectionError, exceptions.IncompleteReadError)


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:400]


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."
