"""What things cost, against AWS's own worked examples; their figures are given to the table, not taken from it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glacier_provider.core.cost import (
    Stored,
    TierCost,
    download_cost,
    early_deletion,
    kept_days,
    merged,
    money,
    of_tier,
    plain,
    retrieval_by_tier,
    retrieval_cost,
    storage_cost,
    upload_cost,
)
from glacier_provider.core.prices import GB, KIB, LIST_PRICES, STORE_CLASSES, Prices, override

MIB = 1024 * KIB
TB = 1024 * GB
ROUNDING = Decimal("1e-12")  # Decimal keeps 28 digits
COLD = ("GLACIER", "DEEP_ARCHIVE", "VAULT")

STORED = st.builds(
    Stored,
    store_class=st.sampled_from(STORE_CLASSES),
    archives=st.integers(1, 10**7),
    bytes=st.integers(0, 10**15),
)


def prices(**classes: Any) -> Prices:
    return override(LIST_PRICES, {"classes": classes})


def near(expected: str) -> Any:
    return pytest.approx(Decimal(expected), abs=Decimal("0.005"))


# --- storage -------------------------------------------------------------------------------------------------------


def test_a_hundred_gb_of_small_objects_cost_what_the_pricing_calculator_says() -> None:
    """AWS's calculator, DEEP_ARCHIVE, 100 GB in objects of 10 KB: 0.099 + 0.3168 (32 KB each) + 1.84 (8 KB each)."""
    objects = 10_485_760
    cost = storage_cost([Stored("DEEP_ARCHIVE", objects, objects * 10 * KIB)], LIST_PRICES)
    assert cost == near("2.2558")


def test_large_archives_cost_their_bytes() -> None:
    """The AWS FAQ: 100,000 archives of 1 GB are billed as 100,003.2 GB and 0.8 GB of STANDARD (in its decimal KB)."""
    cost = storage_cost([Stored("GLACIER", 100_000, 100_000 * GB)], LIST_PRICES)
    assert cost == pytest.approx(
        Decimal("100003.2") * Decimal("0.0036") + Decimal("0.8") * Decimal("0.023"), rel=Decimal("0.00001")
    )


def test_a_small_archive_of_instant_retrieval_is_billed_as_128_kb() -> None:
    small = Stored("GLACIER_IR", 8192, 8192 * 10 * KIB)  # 128 KB each make a GB
    assert storage_cost([small], LIST_PRICES) == Decimal("0.004")


def test_where_small_and_large_are_together_each_small_one_is_billed_as_128_kb() -> None:
    """8,191 empty archives and one of a GB: the average hides what `padded_bytes` tells."""
    mixed = Stored("GLACIER_IR", 8192, GB, padded_bytes=8191 * 128 * KIB + GB)
    assert storage_cost([mixed], LIST_PRICES) == pytest.approx(Decimal("0.008"), rel=Decimal("0.001"))


def test_a_vault_adds_32_kb_to_each_archive_and_nothing_in_standard() -> None:
    assert storage_cost([Stored("VAULT", 32_768, 0)], LIST_PRICES) == Decimal("0.0036")


def test_standard_adds_nothing() -> None:
    assert storage_cost([Stored("STANDARD", 1000, 10 * GB)], LIST_PRICES) == Decimal("0.230")


@given(STORED, st.integers(1, 5))
def test_storage_grows_with_archives_and_with_bytes(stored: Stored, times: int) -> None:
    cost = storage_cost([stored], LIST_PRICES)
    assert cost >= 0
    assert storage_cost([replace(stored, bytes=stored.bytes + times)], LIST_PRICES) >= cost
    assert storage_cost([replace(stored, archives=stored.archives + times)], LIST_PRICES) >= cost


@given(st.lists(STORED, max_size=6))
def test_the_sum_of_the_classes_is_the_whole(all_stored: list[Stored]) -> None:
    whole = storage_cost(all_stored, LIST_PRICES)
    assert whole == sum((storage_cost([one], LIST_PRICES) for one in all_stored), Decimal(0))
    # What is merged first is known by its average alone where sizes are billed from 128 KB on: never more.
    assert storage_cost(merged(all_stored), LIST_PRICES) <= whole + Decimal("0.000001")


@given(st.lists(STORED.map(lambda one: replace(one, padded_bytes=max(one.bytes, one.archives * 128 * KIB)))))
def test_merging_loses_nothing(all_stored: list[Stored]) -> None:
    together = merged(all_stored)
    assert len({one.store_class for one in together}) == len(together)
    for name in ("archives", "bytes", "padded_bytes"):
        assert sum(getattr(one, name) for one in together) == sum(getattr(one, name) for one in all_stored)
    assert storage_cost(together, LIST_PRICES) == pytest.approx(storage_cost(all_stored, LIST_PRICES))


# --- uploads -------------------------------------------------------------------------------------------------------


def test_a_million_small_files_pay_for_their_requests() -> None:
    files = Stored("GLACIER", 1_000_000, 50_000 * 1_000_000)
    assert upload_cost(files, LIST_PRICES) == Decimal(30)
    assert upload_cost(replace(files, store_class="DEEP_ARCHIVE"), LIST_PRICES) == Decimal(50)


def test_parts_are_billed_as_standard_in_s3_and_as_uploads_in_a_vault() -> None:
    dump = Stored("GLACIER", 1, 10 * GB)
    looks = Decimal("0.00001") + Decimal("0.0000004")  # it is begun, what an earlier try left is looked for twice
    assert upload_cost(dump, LIST_PRICES, parts=1000, in_parts=1) == Decimal("0.00003") + Decimal("0.005") + looks
    assert upload_cost(replace(dump, store_class="VAULT"), LIST_PRICES, parts=1000, in_parts=1) == Decimal("0.03")


@given(STORED, st.integers(1, 10**6))
def test_parts_make_no_upload_cheaper(stored: Stored, parts: int) -> None:
    assert upload_cost(stored, LIST_PRICES, parts=parts, in_parts=1) >= upload_cost(stored, LIST_PRICES)


# --- retrievals ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tier", "requests", "size"), [("Standard", "750", "1024"), ("Expedited", "150000", "3072"), ("Bulk", "0", "0")]
)
def test_fifteen_million_objects_cost_what_the_knowledge_center_says(tier: str, requests: str, size: str) -> None:
    """https://repost.aws/knowledge-center/s3-manage-data-retrieval: 15,000,000 objects, 100 TB, from GLACIER."""
    cost = retrieval_cost(Stored("GLACIER", 15_000_000, 100 * TB), tier, LIST_PRICES, days=1)
    assert (cost.requests, cost.bytes) == (Decimal(requests), Decimal(size))


def test_the_retrieved_copy_is_paid_for_as_standard_while_it_stays() -> None:
    def copy(name: str, days: int) -> Decimal:
        stored = Stored(name, 1, 10 * GB)
        return retrieval_cost(stored, "Standard", LIST_PRICES, days=days).temporary_copy

    assert copy("GLACIER", 30) == Decimal("0.23")
    assert copy("GLACIER", 3) == Decimal("0.023")
    assert copy("VAULT", 30) == 0  # the output of a vault's job is part of the retrieval


def test_deep_archive_has_no_expedited_tier() -> None:
    with pytest.raises(KeyError):
        retrieval_cost(Stored("DEEP_ARCHIVE", 1, 1), "Expedited", LIST_PRICES, days=1)


def test_what_needs_no_retrieval_pays_for_being_read() -> None:
    cost = retrieval_cost(Stored("GLACIER_IR", 1000, 10 * GB), "Standard", LIST_PRICES, days=7)
    assert cost == TierCost(requests=Decimal("0.01"), bytes=Decimal("0.30"))
    assert download_cost(Stored("GLACIER_IR", 1000, 10 * GB), LIST_PRICES) == cost
    ready = download_cost(Stored("GLACIER", 1000, 10 * GB), LIST_PRICES)
    assert ready == TierCost(reading=Decimal("0.0004")), "retrieved, and paid for, before, but for the GETs"
    assert download_cost(Stored("GLACIER", 1, 10 * GB), LIST_PRICES).reading == 80 * Decimal("0.0000004"), "in ranges"


def test_transfer_out_counts_where_it_is_given() -> None:
    table = override(LIST_PRICES, {"transfer_out": 0.09})
    assert retrieval_cost(Stored("GLACIER", 1, 100 * GB), "Bulk", table, days=1).transfer_out == 9
    assert download_cost(Stored("STANDARD", 1, 100 * GB), table).transfer_out == 9


def test_a_restore_from_two_classes_has_the_tiers_that_both_have() -> None:
    asked = [Stored("GLACIER", 1000, GB), Stored("DEEP_ARCHIVE", 1000, GB), Stored("GLACIER", 0, 0)]
    costs = retrieval_by_tier(asked, LIST_PRICES, days=30, ready=[Stored("GLACIER_IR", 1000, GB)])
    assert list(costs) == ["Standard", "Bulk"]
    reading = Decimal("0.01") + Decimal("0.03")
    copies = 2 * Decimal("0.023") + 2 * Decimal("0.0004")
    assert (
        costs["Standard"].total
        == Decimal("0.05") + Decimal("0.01") + Decimal("0.10") + Decimal("0.02") + copies + reading
    )
    assert of_tier(costs, "Standard") == costs["Standard"]


def test_a_restore_without_retrievals_has_one_price() -> None:
    costs = retrieval_by_tier([], LIST_PRICES, days=7, ready=[Stored("GLACIER_IR", 0, GB)])
    assert list(costs) == [""]
    assert of_tier(costs, "Bulk").total == Decimal("0.03")
    assert of_tier(retrieval_by_tier([], LIST_PRICES, days=7), "Standard").total == 0


@given(st.sampled_from(COLD), st.integers(1, 10**6), st.integers(0, 10**14), st.integers(1, 365))
def test_a_slower_tier_never_costs_more(store_class: str, archives: int, size: int, days: int) -> None:
    costs = retrieval_by_tier([Stored(store_class, archives, size)], LIST_PRICES, days=days)
    totals = [cost.total for cost in costs.values()]
    assert totals == sorted(totals, reverse=True)


@given(STORED, STORED, st.integers(1, 365))
def test_bringing_two_things_costs_the_sum(one: Stored, other: Stored, days: int) -> None:
    together = retrieval_by_tier([one, other], LIST_PRICES, days=days)
    for tier, cost in together.items():
        alone = [retrieval_by_tier([each], LIST_PRICES, days=days) for each in (one, other)]
        assert abs(cost.total - sum(of_tier(each, tier).total for each in alone)) < ROUNDING


# --- early deletion ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("age", "fee"), [(0, "0.012"), (30, "0.008"), (60, "0.004"), (90, "0"), (1000, "0")])
def test_a_gb_deleted_early_costs_what_the_faq_says(age: int, fee: str) -> None:
    """The AWS FAQ, at 0.004 a GB: 0.012 at once, 0.008 after one month, 0.004 after two."""
    table = prices(GLACIER={"storage": 0.004, "overhead_bytes": 0})
    assert early_deletion([(Stored("GLACIER", 1, GB), age)], table) == Decimal(fee)


def test_deep_archive_bills_half_a_year() -> None:
    fee = early_deletion([(Stored("DEEP_ARCHIVE", 1, 1000 * GB), 0)], LIST_PRICES)
    assert fee == pytest.approx(Decimal("0.99") * 6, rel=Decimal("0.0001"))
    assert early_deletion([(Stored("DEEP_ARCHIVE", 1, GB), 179)], LIST_PRICES) > 0
    assert early_deletion([(Stored("DEEP_ARCHIVE", 1, GB), 180)], LIST_PRICES) == 0


def test_standard_is_free_to_go() -> None:
    assert early_deletion([(Stored("STANDARD", 1000, 1000 * GB), 0)], LIST_PRICES) == 0


@given(STORED, st.integers(0, 400))
def test_waiting_makes_no_deletion_dearer(stored: Stored, age: int) -> None:
    fee = early_deletion([(stored, age)], LIST_PRICES)
    assert 0 <= early_deletion([(stored, age + 1)], LIST_PRICES) <= fee
    months = Decimal(LIST_PRICES.of(stored.store_class).minimum_days) / 30
    assert fee <= storage_cost([stored], LIST_PRICES) * months + ROUNDING


# --- telling -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("amount", "told"),
    [("0", "0.00 USD"), ("0.004", "less than 0.01 USD"), ("0.014", "0.01 USD"), ("1234567.895", "1,234,567.90 USD")],
)
def test_money_is_told_in_cents_and_never_as_nothing(amount: str, told: str) -> None:
    assert money(Decimal(amount), "USD") == told


@given(st.decimals(0, 10**12, places=10))
def test_json_gets_decimal_text(amount: Decimal) -> None:
    assert abs(Decimal(plain(amount)) - amount) <= Decimal("0.0000005")
    assert "e" not in plain(amount).lower()


def test_a_retrieval_is_told_with_its_sum() -> None:
    told = TierCost(Decimal(1), Decimal(2), Decimal("0.5"), Decimal("0.25")).as_dict()
    assert told["total"] == "3.750000"
    assert sum(Decimal(told[name]) for name in told if name != "total") == Decimal(told["total"])


# --- clocks --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ready", "days", "billed"),
    [
        ("2026-11-28T00:00:00+00:00", 1, "1"),
        ("2026-11-28T00:00:01+00:00", 1, "1.99999"),
        ("2026-11-28T18:00:00+00:00", 1, "1.25"),
        ("2026-11-28T12:00:00+00:00", 7, "7.5"),
        ("2026-11-28T12:00:00+06:00", 7, "7.75"),
    ],
)
def test_a_copy_is_billed_to_the_next_midnight_utc_after_its_days(ready: str, days: int, billed: str) -> None:
    assert kept_days(days, datetime.fromisoformat(ready)) == pytest.approx(Decimal(billed), abs=Decimal("0.0001"))


def test_copies_are_reckoned_until_the_midnight_after_the_slowest_of_each_tier() -> None:
    asked = [Stored("GLACIER", 1000, 100 * GB)]
    now = datetime.fromisoformat("2026-11-28T12:00:00+00:00")
    costs = retrieval_by_tier(asked, LIST_PRICES, days=1, now=now)
    plain_costs = retrieval_by_tier(asked, LIST_PRICES, days=1)
    kept = {"Standard": 1 + Decimal(7) / 24, "Bulk": Decimal(1), "Expedited": 1 + Decimal("11.9166666666667") / 24}
    for tier, days in kept.items():
        expected = plain_costs[tier].temporary_copy * days
        assert costs[tier].temporary_copy == pytest.approx(expected, rel=Decimal("0.00001"))


def test_each_class_is_waited_for_by_its_own_hours() -> None:
    asked = [Stored("GLACIER", 1, 100 * GB), Stored("DEEP_ARCHIVE", 1, 100 * GB)]
    now = datetime.fromisoformat("2026-11-28T00:00:00+00:00")
    both = retrieval_by_tier(asked, LIST_PRICES, days=1, now=now)["Bulk"].temporary_copy
    day = 100 * Decimal("0.023") / 30
    assert both == pytest.approx(day * (Decimal("1.5") + 1), rel=Decimal("0.00001"))


def test_looks_at_what_is_waited_for_cost_a_listing_for_a_thousand_each_time() -> None:
    def looks(archives: int, alone: int = 0) -> Decimal:
        asked = [Stored("GLACIER", archives, 0)]
        costs = retrieval_by_tier(asked, LIST_PRICES, days=1, look_seconds=300, alone=alone)
        return costs["Bulk"].reading - Decimal("0.0000004") * archives

    assert looks(100_000) == 145 * 100 * Decimal("0.000005")
    assert looks(100_001, alone=1) == 145 * (100 * Decimal("0.000005") + Decimal("0.0000004"))
    assert looks(3) == 145 * 3 * Decimal("0.0000004"), "few are asked for one by one"
