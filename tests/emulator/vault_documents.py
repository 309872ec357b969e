"""The small operations of the vault API, each keeping one JSON document: policies, locks, tags, and so on."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.emulator.vault_rules import (
    EVENTS,
    GlacierError,
    check_topic,
    from_date,
    invalid,
    missing,
    not_found,
    to_date,
)
from tests.emulator.vault_store import DAY, VaultStore

MAX_TAGS = 50


@dataclass(frozen=True)
class Answer:
    """A response: status, headers, and a body of `size` bytes."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    chunks: Iterable[bytes] = ()
    size: int = 0

    @classmethod
    def of(cls, document: object) -> Answer:
        """Return a 200 with a JSON body."""
        body = json.dumps(document).encode()
        return cls(200, {"Content-Type": "application/json"}, iter([body]), len(body))


class Documents:
    """Operations that keep a JSON document per vault, or per account (vault "")."""

    def __init__(self, store: VaultStore) -> None:
        self._store = store
        self._operations: Mapping[str, Callable[[str, str, dict[str, Any]], Answer]] = {
            "SetVaultNotifications": self._set_notifications,
            "GetVaultNotifications": self._get_notifications,
            "DeleteVaultNotifications": self._delete_notifications,
            "SetVaultAccessPolicy": self._set_access_policy,
            "GetVaultAccessPolicy": self._get_access_policy,
            "DeleteVaultAccessPolicy": self._delete_access_policy,
            "InitiateVaultLock": self._initiate_lock,
            "CompleteVaultLock": self._complete_lock,
            "GetVaultLock": self._get_lock,
            "AbortVaultLock": self._abort_lock,
            "ListTagsForVault": self._list_tags,
            "AddTagsToVault": self._add_tags,
            "RemoveTagsFromVault": self._remove_tags,
            "GetDataRetrievalPolicy": self._get_retrieval_policy,
            "SetDataRetrievalPolicy": self._set_retrieval_policy,
            "ListProvisionedCapacity": self._list_capacity,
            "PurchaseProvisionedCapacity": self._purchase_capacity,
        }

    def perform(self, operation: str, vault: str, resource: str, document: dict[str, Any]) -> Answer:
        """Carry out one of these operations and return its answer."""
        with self._store.transaction():
            if vault:
                self._store.vault(vault)
            return self._operations[operation](vault, resource, document)

    # --- notifications ---

    def _set_notifications(self, vault: str, _: str, document: dict[str, Any]) -> Answer:
        events = document.get("Events") or []
        if not document.get("SNSTopic"):
            raise missing("SNSTopic")
        check_topic(document["SNSTopic"])
        if not events or not set(events) <= set(EVENTS):
            raise invalid(f"Invalid notification events: {events}")
        kept = {"SNSTopic": document["SNSTopic"], "Events": events}
        self._store.put_document(vault, "notification-configuration", json.dumps(kept))
        return Answer(204)

    def _get_notifications(self, vault: str, *_: object) -> Answer:
        text = self._store.document(vault, "notification-configuration")
        if text is None:
            raise not_found(f"No notification configuration is set for vault: {self._store.options.arn(vault)}")
        return Answer.of(json.loads(text))

    def _delete_notifications(self, vault: str, *_: object) -> Answer:
        self._store.put_document(vault, "notification-configuration", None)
        return Answer(204)

    # --- access policy and lock ---

    def _set_access_policy(self, vault: str, _: str, document: dict[str, Any]) -> Answer:
        self._store.put_document(vault, "access-policy", _checked_policy(document))
        return Answer(204)

    def _get_access_policy(self, vault: str, *_: object) -> Answer:
        text = self._store.document(vault, "access-policy")
        if text is None:
            raise not_found(f"No access policy is set for vault: {self._store.options.arn(vault)}")
        return Answer.of({"Policy": text})

    def _delete_access_policy(self, vault: str, *_: object) -> Answer:
        self._store.put_document(vault, "access-policy", None)
        return Answer(204)

    def _lock(self, vault: str) -> dict[str, Any] | None:
        """Return the lock of a vault unless it was begun a day ago and not completed (Initiate Vault Lock)."""
        text = self._store.document(vault, "lock-state")
        lock = None if text is None else json.loads(text)
        if lock is None or lock["State"] == "Locked":
            return lock
        if (from_date(lock["ExpirationDate"], "ExpirationDate") or 0) > self._store.clock.timestamp():
            return lock
        self._put_lock(vault, None)
        return None

    def _put_lock(self, vault: str, lock: dict[str, Any] | None) -> None:
        self._store.put_document(vault, "lock-state", None if lock is None else json.dumps(lock))
        self._store.put_document(vault, "lock", None if lock is None else lock["Policy"])

    def _initiate_lock(self, vault: str, _: str, document: dict[str, Any]) -> Answer:
        if self._lock(vault) is not None:
            raise invalid(f"A lock is in force or in progress on vault: {self._store.options.arn(vault)}")
        now = self._store.clock.timestamp()
        lock = {
            "Policy": _checked_policy(document),
            "State": "InProgress",
            "CreationDate": to_date(now),
            "ExpirationDate": to_date(now + DAY),
            "LockId": secrets.token_urlsafe(48),
        }
        self._put_lock(vault, lock)
        return Answer(201, {"x-amz-lock-id": str(lock["LockId"])})

    def _complete_lock(self, vault: str, lock_id: str, _: dict[str, Any]) -> Answer:
        lock = self._lock(vault)
        if lock is None or lock["LockId"] != lock_id:
            raise not_found(f"The lock ID was not found: {lock_id}")
        self._put_lock(vault, {**lock, "State": "Locked", "ExpirationDate": None})
        return Answer(204)

    def _get_lock(self, vault: str, *_: object) -> Answer:
        lock = self._lock(vault)
        if lock is None:
            raise not_found(f"No lock is set for vault: {self._store.options.arn(vault)}")
        return Answer.of({name: value for name, value in lock.items() if name != "LockId"})

    def _abort_lock(self, vault: str, *_: object) -> Answer:
        lock = self._lock(vault)
        if lock is not None and lock["State"] == "Locked":
            raise invalid(f"The vault is locked and stays so: {self._store.options.arn(vault)}")
        self._put_lock(vault, None)
        return Answer(204)

    # --- tags ---

    def _tags(self, vault: str) -> dict[str, str]:
        return json.loads(self._store.document(vault, "tags") or "{}")

    def _list_tags(self, vault: str, *_: object) -> Answer:
        return Answer.of({"Tags": self._tags(vault)})

    def _add_tags(self, vault: str, _: str, document: dict[str, Any]) -> Answer:
        tags = self._tags(vault) | (document.get("Tags") or {})
        if len(tags) > MAX_TAGS:
            raise GlacierError(400, "LimitExceededException", f"A vault can have {MAX_TAGS} tags at most")
        self._store.put_document(vault, "tags", json.dumps(tags))
        return Answer(204)

    def _remove_tags(self, vault: str, _: str, document: dict[str, Any]) -> Answer:
        keys = document.get("TagKeys") or []
        tags = {name: value for name, value in self._tags(vault).items() if name not in keys}
        self._store.put_document(vault, "tags", json.dumps(tags))
        return Answer(204)

    # --- account ---

    def _get_retrieval_policy(self, *_: object) -> Answer:
        text = self._store.document("", "data-retrieval-policy")
        return Answer.of({"Policy": json.loads(text) if text else {"Rules": [{"Strategy": "None"}]}})

    def _set_retrieval_policy(self, _: str, __: str, document: dict[str, Any]) -> Answer:
        policy = document.get("Policy") or {}
        for rule in policy.get("Rules") or []:
            if rule.get("Strategy") not in ("None", "FreeTier", "BytesPerHour"):
                raise invalid(f"Invalid strategy: {rule.get('Strategy')}")
            if (rule["Strategy"] == "BytesPerHour") != (rule.get("BytesPerHour") is not None):
                raise invalid("BytesPerHour belongs to the strategy BytesPerHour, and to no other")
        self._store.put_document("", "data-retrieval-policy", json.dumps(policy))
        return Answer(204)

    def _list_capacity(self, *_: object) -> Answer:
        units = json.loads(self._store.document("", "capacity") or "[]")
        return Answer.of({"ProvisionedCapacityList": units})

    def _purchase_capacity(self, *_: object) -> Answer:
        units = json.loads(self._store.document("", "capacity") or "[]")
        if len(units) >= 2:
            raise GlacierError(400, "LimitExceededException", "An account can have two units of capacity")
        now = self._store.clock.timestamp()
        unit = {
            "CapacityId": secrets.token_urlsafe(33),
            "StartDate": to_date(now),
            "ExpirationDate": to_date(now + 30 * DAY),
        }
        self._store.put_document("", "capacity", json.dumps([*units, unit]))
        return Answer(201, {"x-amz-capacity-id": str(unit["CapacityId"])})


def _checked_policy(document: dict[str, Any]) -> str:
    text = document.get("Policy")
    if not text:
        raise missing("policy")
    try:
        parsed = json.loads(text)
    except ValueError as exc:
        raise invalid("The policy is not well-formed JSON") from exc
    if not isinstance(parsed, dict) or "Statement" not in parsed:
        raise invalid("The policy has no Statement")
    return text
