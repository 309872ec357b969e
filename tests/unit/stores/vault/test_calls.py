from __future__ import annotations

import pytest
from botocore import exceptions
from botocore.parsers import ResponseParserError

from glacier_provider.errors import StoreError
from glacier_provider.stores.aws_errors import aws_errors
from glacier_provider.stores.vault.calls import may_have_happened


def answered(status: int, code: str) -> exceptions.ClientError:
    reply = {"Error": {"Code": code, "Message": "."}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return exceptions.ClientError(reply, "UploadArchive")


def lost(kind: type[Exception], **options: object) -> Exception:
    return kind(endpoint_url="https://glacier.example", **options)


@pytest.mark.parametrize(
    ("error", "open_question"),
    [
        (answered(500, "ServiceUnavailableException"), True),
        (answered(503, "ServiceUnavailableException"), True),
        (answered(502, "502"), True),
        (answered(408, "RequestTimeoutException"), True),
        (answered(400, "ThrottlingException"), False),
        (answered(429, "TooManyRequestsException"), False),
        (answered(403, "AccessDeniedException"), False),
        (answered(404, "ResourceNotFoundException"), False),
        (answered(400, "InvalidParameterValueException"), False),
        (answered(400, "PolicyEnforcedException"), False),
        (answered(503, "InsufficientCapacityException"), False),
        (lost(exceptions.ReadTimeoutError), True),
        (lost(exceptions.ConnectionClosedError), True),
        (lost(exceptions.SSLError, error="x"), True),
        (exceptions.HTTPClientError(error=OSError("reset")), True),
        (ResponseParserError("cut"), True),
        (ConnectionResetError(), True),
        (lost(exceptions.EndpointConnectionError, error="refused"), False),
        (lost(exceptions.ConnectTimeoutError), False),
        (exceptions.ProxyConnectionError(proxy_url="http://proxy", error="refused"), False),
        (exceptions.NoCredentialsError(), False),
    ],
)
def test_an_error_tells_whether_the_request_may_have_taken_effect(error: Exception, open_question: bool) -> None:
    with pytest.raises(StoreError) as caught, aws_errors("glacier:UploadArchive", "glacier://v"):
        raise error
    assert may_have_happened(caught.value) is open_question
