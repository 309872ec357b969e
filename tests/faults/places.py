"""The cold, seen from behind: what an emulated store really holds, whatever catalog and product believe."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from glacier_provider.applications import Application
from glacier_provider.core.archive import Description
from glacier_provider.core.store_uri import VaultUri, parse_store_uri
from glacier_provider.stores import client_config, open_store
from glacier_provider.stores.contract import ArchiveStore
from glacier_provider.stores.s3.bucket import receipt_checksum
from glacier_provider.stores.s3.keys import description_from_metadata, is_no_archive
from glacier_provider.stores.vault.descriptions import description_from_text
from glacier_provider.stores.vault.store import VaultStore
from tests.emulator.faults import FaultPlan
from tests.emulator.s3 import S3Emulator, a_session
from tests.emulator.vault import VaultEmulator
from tests.faults.mail import Mail

MIB = 1024 * 1024
PART = 8 * MIB


@dataclass(frozen=True)
class Held:
    """One archive as it lies in the store."""

    key: str
    size: int
    description: Description | None
    checksum: str | None = None


class Place(Protocol):
    """One emulated store. `exact`: it has write-once keys, so that nothing is ever there twice."""

    uri: str
    exact: bool
    plan: FaultPlan

    def opener(self) -> Callable[[], ArchiveStore]:
        """Return what opens the store anew, also in a child forked after this call."""
        ...

    def held(self) -> list[Held]: ...

    def uploads(self) -> list[str]:
        """Return the uploads in parts that were neither completed nor aborted."""
        ...

    def retrievals_made(self) -> int | None:
        """Return how many retrievals were paid for; None when the store joins them itself."""
        ...

    def pass_time(self, seconds: float) -> None: ...

    def settle(self) -> None:
        """Let the store end what a killed process had begun: Airflow's next try comes minutes later."""
        ...

    def list_anew(self) -> None:
        """Let the store tell of all that it holds now."""
        ...

    def retrievals_take(self, seconds: float) -> None:
        """Let what is asked for from now on take so long, in emulated seconds."""
        ...

    def mail(self, application: Application) -> Mail:
        """Return a new queue that the store tells of ended retrievals."""
        ...

    def another(self, number: int) -> Place:
        """Return an empty place of the same emulated store."""
        ...

    @property
    def ahead(self) -> float:
        """By how many seconds the store's clock is ahead."""
        ...

    @property
    def listing_takes(self) -> float:
        """How long the store takes to tell what it holds, in seconds."""
        ...

    def listings_take(self, seconds: float) -> None:
        """Let listings that are asked for from now on take so long, in emulated seconds."""
        ...

    # --- behind everybody's back ---

    def content(self, key: str) -> bytes:
        """Return the bytes that lie under a key."""
        ...

    def lose(self, key: str) -> None:
        """Have an archive be gone, marker or not."""
        ...

    def give_back(self, key: str) -> None:
        """Have an archive that was lost, or deleted where a store keeps versions, be there again."""
        ...

    def gone(self) -> list[str]:
        """Return the keys of what could be given back."""
        ...

    def empty(self) -> None:
        """Lose everything, the marker of the catalog as well."""
        ...

    def hold(self, *, deletes: bool) -> None:
        """Refuse to delete (a lock, a policy), or do no longer."""
        ...


@dataclass
class S3Place:
    """A bucket of its own."""

    emulator: S3Emulator
    bucket: str
    exact: bool = True
    storage_class: str = "GLACIER"
    uri: str = field(init=False)
    _seen: dict[str, Any] = field(default_factory=dict)
    _values: dict[str, bytes] = field(default_factory=dict)
    _told: dict[str, Held] = field(default_factory=dict)
    _clients: dict[tuple[int, str], Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.emulator.create_bucket(self.bucket)
        self.uri = f"s3://{self.bucket}/pre?storage_class={self.storage_class}"

    @property
    def plan(self) -> FaultPlan:
        return self.emulator.plan

    def opener(self) -> Callable[[], ArchiveStore]:
        url = self.emulator.url

        def client() -> Any:
            return a_session().client("s3", endpoint_url=url, config=client_config(self.uri))

        return lambda: open_store(self.uri, client=_of_this_process(self._clients, url, client), part_size=PART)

    def held(self) -> list[Held]:
        return [self._tell(name, key) for name, key in self._keys.items() if not is_no_archive(name)]

    def _tell(self, name: str, key: Any) -> Held:
        """Return what lies under a key; of an object that is the same as at the last look nothing has changed."""
        if name not in self._told:
            self._told[name] = Held(name, key.size, description_from_metadata(_plain(key.metadata)), _checksum(key))
        return self._told[name]

    @property
    def _keys(self) -> Any:
        keys = self.emulator.objects.bucket(self.bucket).keys
        for name in keys:
            key = keys[name]
            if self._seen.get(name) is not key:
                self._seen[name], self._values[name] = key, bytes(key.value)
                self._told.pop(name, None)
        return keys

    @property
    def ahead(self) -> float:
        return self.emulator.clock.offset

    @property
    def listing_takes(self) -> float:
        return 0.0  # it is of now

    def listings_take(self, seconds: float) -> None:
        pass

    def content(self, key: str) -> bytes:
        assert key in self._keys
        return self._values[key]

    def lose(self, key: str) -> None:
        dict.pop(self._keys, key)
        self.emulator.objects.forget_order(self.bucket)

    def give_back(self, key: str) -> None:
        again = self._seen[key]
        # Who deleted the object has closed it.
        again._value_buffer = tempfile.SpooledTemporaryFile()  # noqa: SIM115
        again.value = self._values[key]
        dict.__setitem__(self._keys, key, [again])
        self.emulator.objects.forget_order(self.bucket)

    def gone(self) -> list[str]:
        keys = self._keys
        return sorted(name for name in self._seen if name not in keys and not is_no_archive(name))

    def empty(self) -> None:
        for name in list(self._keys):
            self.lose(name)

    def hold(self, *, deletes: bool) -> None:
        if deletes:
            self.emulator.deny(self.bucket, ("DeleteObject", "DeleteObjects"))
        else:
            self.emulator.allow(self.bucket)

    def uploads(self) -> list[str]:
        return [upload.key_name for upload in self.emulator.objects.bucket(self.bucket).multiparts.values()]

    def retrievals_made(self) -> int | None:
        return None

    def pass_time(self, seconds: float) -> None:
        self.emulator.clock.advance(seconds)

    def settle(self) -> None:
        pass  # a key is written once, whoever comes first, and a retrieval under way is joined

    def list_anew(self) -> None:
        pass  # its listing is of now

    def retrievals_take(self, seconds: float) -> None:
        self.emulator.retrievals_take(seconds)

    def mail(self, application: Application) -> Mail:
        def about(key: str, said: str) -> dict[str, Any]:
            event = "ObjectRestore:Delete" if said == "expired" else "ObjectRestore:Completed"
            place = {"bucket": {"name": self.bucket}, "object": {"key": key}}
            return {"Records": [{"eventSource": "aws:s3", "eventName": event, "s3": place}]}

        return Mail(self.emulator, application, lambda _: self.emulator.url, about)

    def another(self, number: int) -> Place:
        return S3Place(self.emulator, f"{self.bucket}-{number}", self.exact, self.storage_class)


def _of_this_process(clients: dict[tuple[int, str], Any], url: str, make: Callable[[], Any]) -> Any:
    """Return this process's client of a server: to make one takes long, and its connections do not survive a fork."""
    mine = (os.getpid(), url)
    if mine not in clients:
        clients[mine] = make()
    return clients[mine]


def _checksum(key: Any) -> str | None:
    return receipt_checksum(key.checksum_value or None, _plain(key.metadata).get("part-size"))


def _plain(metadata: Any) -> dict[str, str]:
    return {name.lower().removeprefix("x-amz-meta-"): value for name, value in dict(metadata).items()}


@dataclass
class VaultPlace:
    """A vault of an emulator of its own; `post` emulates the services that carry its messages."""

    emulator: VaultEmulator
    post: S3Emulator
    vault: str = "sleepers"
    exact: bool = False
    _lost: list[str] = field(default_factory=list)
    _clients: dict[tuple[int, str], Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.emulator.archive_operations.create_vault(self.vault)
        self.uri = f"glacier://{self.vault}"

    @property
    def plan(self) -> FaultPlan:
        return self.emulator.faults

    def opener(self) -> Callable[[], ArchiveStore]:
        url, ahead = self.emulator.url, timedelta(seconds=self.emulator.clock.offset)
        place = parse_store_uri(self.uri)
        assert isinstance(place, VaultUri)

        def client() -> Any:
            return a_session().client("glacier", endpoint_url=url, config=client_config(place))

        def open_it() -> ArchiveStore:
            client_of_mine = _of_this_process(self._clients, url, client)
            return VaultStore(place, client=client_of_mine, part_size=PART, now=lambda: datetime.now(UTC) + ahead)

        return open_it

    def held(self) -> list[Held]:
        return [
            Held(
                archive["id"],
                archive["size"],
                description_from_text(archive["description"]),
                f"treehash:{archive['tree_hash']}",
            )
            for archive in self.emulator.archives(self.vault, digests=False)
        ]

    @property
    def ahead(self) -> float:
        return self.emulator.clock.offset

    @property
    def listing_takes(self) -> float:
        return self.emulator.options.inventory_job_seconds + 60

    def listings_take(self, seconds: float) -> None:
        self.emulator.listings_take(seconds)

    def content(self, key: str) -> bytes:
        return self.emulator.read_archive(key)

    def lose(self, key: str) -> None:
        self.emulator.lose_archive(key)
        self._lost.append(key)

    def give_back(self, key: str) -> None:
        self.emulator.give_archive_back(key)
        self._lost.remove(key)

    def gone(self) -> list[str]:
        return sorted(self._lost)

    def empty(self) -> None:
        for one in self.held():
            self.lose(one.key)

    def hold(self, *, deletes: bool) -> None:
        policy = {"Statement": [{"Effect": "Deny", "Principal": "*", "Action": "glacier:DeleteArchive"}]}
        self.emulator.store.put_document(self.vault, "access-policy", json.dumps(policy) if deletes else None)

    def uploads(self) -> list[str]:
        found = [upload["description"] for upload in self.emulator.uploads(self.vault)]
        return [text for text in found if text != "glacier-provider check"]  # empty, and gone by itself after a day

    def retrievals_made(self) -> int | None:
        return self.emulator.job_operations.started[self.vault, "ArchiveRetrieval"]

    def pass_time(self, seconds: float) -> None:
        self.emulator.clock.advance(seconds)

    def settle(self) -> None:
        self.emulator.end_dead_requests()

    def list_anew(self) -> None:
        self.emulator.take_inventory(self.vault)
        self.emulator.complete_jobs(self.emulator.job_operations.initiate(self.vault, {"Type": "inventory-retrieval"}))

    def another(self, number: int) -> Place:
        return VaultPlace(self.emulator, self.post, f"{self.vault}-{number}")

    def retrievals_take(self, seconds: float) -> None:
        self.emulator.retrievals_take(seconds)

    def mail(self, application: Application) -> Mail:
        def about(key: str, said: str) -> dict[str, Any]:
            return {
                "Action": "ArchiveRetrieval",
                "ArchiveId": key,
                "Completed": True,
                "JobId": "somebody's-word",
                "StatusCode": "Failed" if said == "failed" else "Succeeded",
                "VaultARN": self.emulator.options.arn(self.vault),
            }

        urls = {"glacier": self.emulator.url}
        return Mail(self.post, application, lambda service: urls.get(service, self.post.url), about)


@contextmanager
def a_vault_emulator(directory: Path, *, seconds: float) -> Iterator[tuple[VaultEmulator, S3Emulator]]:
    """Start an emulated vault service with what carries its messages, under one plan of faults."""
    plan = FaultPlan(log_path=directory / "faults.jsonl")
    tiers = dict.fromkeys(("expedited_seconds", "standard_seconds", "bulk_seconds"), seconds)
    with (
        S3Emulator(plan=plan) as post,
        VaultEmulator(directory, faults=plan, sns_endpoint_url=post.url, inventory_order="any", **tiers) as vault,
    ):
        yield vault, post
