"""The process that asks for archives back from the cold: RestoreObject, very many of them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from typing import Any

from glacier_provider.stores.s3.fast.sender import Reply
from glacier_provider.stores.s3.fast.shapes import Credentials
from glacier_provider.stores.s3.fast.worker import SENT, Worker

_RUNS = re.compile(rb"<Code>\s*RestoreAlreadyInProgress\s*</Code>")


class Asker(Worker):
    """Asks for archives ``(id, key)``, all with the same body; tells ``(id, word)``.

    Proof that the store has taken a request are 202, 200 for a copy that is there, and that it is at it already.
    https://docs.aws.amazon.com/AmazonS3/latest/API/API_RestoreObject.html
    """

    kind = "ask"
    needs_leave = True

    def __init__(
        self, body: bytes, shape: tuple[Any, ...], credentials: Credentials, tell: Callable[[Any], None]
    ) -> None:
        super().__init__(shape, credentials, tell)
        self._body = body
        self._payload = hashlib.sha256(body).hexdigest()

    def _may_start(self) -> bool:
        return super()._may_start() and self._has_leave()

    def _start(self, item_id: int, key: str) -> None:
        request = self._requests.make(key, query=[("restore", "")], body=self._body, payload=self._payload)
        self._sender.start(request, item_id)

    def _judge(self, item_id: int, reply: Reply) -> None:
        if reply.status in (200, 202) or (reply.status == 409 and _RUNS.search(b"".join(reply.body))):
            self._answers.append((item_id, SENT))
        else:
            self._refuse(item_id, reply)

    def _go_on(self) -> None:
        pass
