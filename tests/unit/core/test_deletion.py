"""The values of a deletion: what it is asked for with, what its plan tells, what it costs."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from glacier_provider.core.archive import Amount, ArchiveKind
from glacier_provider.core.deletion import DeletionPlan, DeletionRequest, Going, Staying, with_fee
from glacier_provider.core.prices import LIST_PRICES
from glacier_provider.core.status import BackupState
from glacier_provider.errors import ConfigurationError

COLD, VAULT = "s3://bucket/pre?storage_class=GLACIER", "glacier://sleepers"
DAY = date(2026, 11, 1)
AT = datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC)
GB = 1024**3


def going(kind: ArchiveKind = ArchiveKind.FILE, archives: int = 1, size: int = GB, uri: str = COLD) -> Going:
    return Going(uri, kind, DAY, Amount(archives, size))


def a_plan(*goes: Going, **changes: Any) -> DeletionPlan:
    return DeletionPlan("library", 42, BackupState.COMPLETE, goes=goes, **changes)


@pytest.mark.parametrize("backup_id", [42, "42", " 42 "])
def test_a_request_takes_a_number_also_as_text(backup_id: Any) -> None:
    request = DeletionRequest.from_params({"backup_id": backup_id, "confirm": " library-42 ", "force": "true"})
    assert request == DeletionRequest(42, "library-42", True)
    request.check("library")


@pytest.mark.parametrize("backup_id", [None, "", "latest", 0, -1, True, 4.5, "4 2", "٤٢", 2**63, "9" * 5000])
def test_nothing_else_is_the_id_of_a_backup(backup_id: Any) -> None:
    with pytest.raises(ConfigurationError, match="backup_id"):
        DeletionRequest.from_params({"backup_id": backup_id})


@pytest.mark.parametrize("confirm", ["", "42", "library", "library-4", "shop-42", "Library-42"])
def test_only_the_application_and_the_id_confirm_it(confirm: str) -> None:
    with pytest.raises(ConfigurationError, match='give "confirm": "library-42"'):
        DeletionRequest(42, confirm).check("library")


def test_a_misspelt_param_is_named() -> None:
    with pytest.raises(ConfigurationError, match="'backup'"):
        DeletionRequest.from_params({"backup": 42})


def test_a_plan_tells_what_goes_from_each_store_and_what_stays() -> None:
    plan = a_plan(
        going(ArchiveKind.DATABASE),
        going(archives=16),
        going(uri=VAULT, archives=2),
        stays=(Staying("other backups contain them", Amount(3, 30)),),
        refused="It is the newest.",
        forcible=True,
    )
    assert plan.total == Amount(19, 3 * GB)
    assert plan.lines() == [
        "Backup 42 of library is complete.",
        f"To delete from {COLD}: 17 archives (2.1 GB), 1 dump, 16 files.",
        f"To delete from {VAULT}: 2 archives (1.1 GB), 2 files.",
        "To keep: 3 archives (30 B), since other backups contain them.",
        "NOT to be deleted: It is the newest. (unless forced: --force)",
    ]
    assert json.loads(json.dumps(plan.as_dict())) == plan.as_dict()


def test_the_fee_is_for_the_days_that_are_left_of_each_class() -> None:
    for days, expected in ((0, 3), (30, 2), (90, 0), (400, 0)):
        today = date.fromordinal(DAY.toordinal() + days)
        fee = with_fee(a_plan(going()), LIST_PRICES, now=AT + (today - DAY)).fee
        assert fee is not None
        monthly = LIST_PRICES.of("GLACIER").storage
        assert abs(fee - expected * monthly) < Decimal("0.001")
    in_vault = with_fee(a_plan(going(uri=VAULT)), LIST_PRICES, now=AT)
    assert in_vault.fee


def test_a_manifest_lies_where_nothing_is_charged_for_deleting_early() -> None:
    plan = with_fee(a_plan(going(ArchiveKind.MANIFEST)), LIST_PRICES, now=AT)
    assert plan.fee == 0
    assert "minimum storage duration: nothing." in plan.lines()[-1]


def test_small_archives_of_a_class_with_a_smallest_size_are_reckoned_one_by_one() -> None:
    """9,999 of 1 kB and one of 2 GB: the average hides what each small one is billed as."""
    uri = "s3://bucket/x?storage_class=GLACIER_IR"
    size, small = 9_999_000 + 2 * 1024**3, 9_999
    going = Going(uri, ArchiveKind.FILE, DAY, Amount(10_000, size), padded_bytes=small * 131072 + 2 * 1024**3)
    plan = DeletionPlan("library", 1, BackupState.COMPLETE, goes=(going,))
    billed = small * 131072 + 2 * 1024**3
    assert with_fee(plan, LIST_PRICES, now=AT).fee == billed / Decimal(GB) * Decimal("0.004") * 3
