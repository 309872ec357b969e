"""The behaviour of S3's archive classes that moto lacks: restores that take time and end, and their events.

Rules: https://docs.aws.amazon.com/AmazonS3/latest/API/API_RestoreObject.html and
https://docs.aws.amazon.com/AmazonS3/latest/userguide/restoring-objects.html. All state hangs on moto's own objects,
so it goes when they are deleted or replaced.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

from tests.emulator.clock import Clock
from tests.emulator.faults import NOTIFICATION_KINDS, FaultKind, FaultPlan

ARCHIVE_CLASSES = ("GLACIER", "DEEP_ARCHIVE")
TIERS = ("Bulk", "Standard", "Expedited")  # from slow to quick
DAY = 86_400


@dataclass
class Thaw:
    """One restore of one object, in emulated time (seconds since the epoch)."""

    tier: str
    days: int
    ready_at: float
    expires_at: float
    failed: bool = False
    announced: bool = False


def thaw_state(key: Any, now: float) -> tuple[str, float | None]:
    """Return `cold`, `ongoing` or `ready` with the time of expiry."""
    thaw: Thaw | None = getattr(key, "thaw", None)
    if thaw is None:
        return "cold", None
    if now < thaw.ready_at:
        return "ongoing", None
    if thaw.failed or now >= thaw.expires_at:
        return "cold", None
    return "ready", thaw.expires_at


def is_readable(key: Any, now: float) -> bool:
    return key.storage_class not in ARCHIVE_CLASSES or thaw_state(key, now)[0] == "ready"


def restore_header(key: Any, now: float) -> str | None:
    """Return the value of x-amz-restore, or None when the header is absent."""
    state, expires = thaw_state(key, now)
    if state == "ongoing":
        return 'ongoing-request="true"'
    if state == "ready" and expires is not None:
        expiry = format_datetime(datetime.fromtimestamp(expires, UTC), usegmt=True)
        return f'ongoing-request="false", expiry-date="{expiry}"'
    return None


def restore_status(key: Any, now: float) -> dict[str, Any] | None:
    """Return the RestoreStatus element of a listing, or None for a class that is always readable."""
    if key.storage_class not in ARCHIVE_CLASSES:
        return None
    state, expires = thaw_state(key, now)
    expiry = datetime.fromtimestamp(expires, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z") if expires is not None else None
    return {"IsRestoreInProgress": state == "ongoing", "RestoreExpiryDate": expiry}


def next_midnight(timestamp: float) -> float:
    """Return the first 00:00 UTC at or after a time: S3 rounds the end of a restore up to it."""
    moment = datetime.fromtimestamp(timestamp, UTC)
    day = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    return (day if day == moment else day + timedelta(days=1)).timestamp()


class Announcer:
    """Sends `s3:ObjectRestore:Completed` when a restore completes, by the clock, from a thread of its own."""

    def __init__(self, clock: Clock, plan: FaultPlan, due: Iterable[tuple[Any, Any]] = ()) -> None:
        self._clock = clock
        self._plan = plan
        self._due: list[tuple[Any, Any]] = list(due)
        self._wake = threading.Condition()
        self._stopped = False
        clock.on_change(self._notify)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def expect(self, bucket: Any, key: Any) -> None:
        """Announce the completion of the restore that `key` now has."""
        with self._wake:
            self._due.append((bucket, key))
            self._wake.notify_all()

    def stop(self) -> list[tuple[Any, Any]]:
        """End the thread and return the (bucket, object) pairs that were not announced yet."""
        with self._wake:
            self._stopped = True
            self._wake.notify_all()
        self._thread.join()
        return self._due

    def _notify(self) -> None:
        with self._wake:
            self._wake.notify_all()

    def _run(self) -> None:
        while True:
            with self._wake:
                if self._stopped:
                    return
                ready = self._take_ready()
                if not ready:
                    self._wake.wait(self._seconds_to_wait())
                    continue
            for bucket, key in ready:
                self._announce(bucket, key)

    def _take_ready(self) -> list[tuple[Any, Any]]:
        now = self._clock.timestamp()
        ready = [entry for entry in self._due if now >= entry[1].thaw.ready_at]
        self._due = [entry for entry in self._due if now < entry[1].thaw.ready_at]
        return ready

    def _seconds_to_wait(self) -> float | None:
        waits = [self._clock.real_seconds_until(key.thaw.ready_at) for _, key in self._due]
        return min((wait for wait in waits if wait is not None), default=None)

    def _announce(self, bucket: Any, key: Any) -> None:
        if key.thaw.failed or key.thaw.announced:
            return
        key.thaw.announced = True
        faults = self._plan.decide("Notification", NOTIFICATION_KINDS, bucket=bucket.name, key=key.name)
        kinds = {fault.kind for fault in faults}
        times = 0 if FaultKind.LOSE_NOTIFICATION in kinds else 2 if FaultKind.DUPLICATE_NOTIFICATION in kinds else 1
        expiry = datetime.fromtimestamp(key.thaw.expires_at, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        data = {"lifecycleRestorationExpiryTime": expiry, "lifecycleRestoreStorageClass": key.storage_class}
        for _ in range(times):
            send_event("s3:ObjectRestore:Completed", bucket, key, {"restoreEventData": data})


def send_event(event: str, bucket: Any, key: Any, glacier_data: Mapping[str, Any] | None = None) -> None:
    """Deliver an S3 event to the queues and topics of the bucket's notification configuration, in moto."""
    from moto.s3.notifications import (
        _get_region_from_arn,
        _get_s3_event,
        _send_sns_message,
        _send_sqs_message,
    )

    configuration = bucket.notification_configuration
    if configuration is None:
        return
    for target in [*configuration.queue, *configuration.topic]:
        if not target.matches(event, key.name):
            continue
        body = _get_s3_event(event, bucket, key, target.id)
        if glacier_data is not None:
            body["Records"][0]["glacierEventData"] = dict(glacier_data)
        region = _get_region_from_arn(target.arn)
        with contextlib.suppress(Exception):  # as in AWS, a missing queue hinders nothing
            if target in configuration.queue:
                _send_sqs_message(key.account_id, body, target.arn.rsplit(":", 1)[-1], region)
            else:
                _send_sns_message(key.account_id, body, target.arn, region)
