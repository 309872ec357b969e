"""The price table, and figures of one's own laid over it."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glacier_provider.applications import Application, parse_application
from glacier_provider.core.prices import LIST_PRICES, STORE_CLASSES, override
from glacier_provider.core.store_uri import STORAGE_CLASSES, store_class
from glacier_provider.core.tiers import RETRIEVAL_HOURS, Tier
from glacier_provider.errors import ConfigurationError


def an_entry(**settings: Any) -> dict[str, Any]:
    return {
        "postgres_conn_id": "library_db",
        "files_directory": "/srv/library/uploads",
        "staging_directory": "/srv/staging",
        "store": "s3://bucket/library",
        **settings,
    }


def test_the_table_says_where_and_when_it_is_from() -> None:
    assert LIST_PRICES.name == "the prices of us-east-1 on 2026-11-21"
    assert LIST_PRICES.source.startswith("https://aws.amazon.com/")
    assert LIST_PRICES.overridden is False


def test_every_class_that_a_store_can_have_has_its_prices() -> None:
    assert set(LIST_PRICES.classes) == set(STORE_CLASSES) == {*STORAGE_CLASSES, "VAULT"}
    for uri in ("s3://bucket/x", "s3://bucket/x?storage_class=GLACIER_IR", "glacier://vault"):
        assert store_class(uri) in LIST_PRICES.classes


def test_every_tier_that_has_hours_has_a_price() -> None:
    for name, hours in RETRIEVAL_HOURS.items():
        assert [Tier(tier) for tier in LIST_PRICES.of(name).tiers] == list(hours)


def test_one_figure_is_overridden_and_all_the_others_stay() -> None:
    own = override(LIST_PRICES, {"classes": {"GLACIER": {"tiers": {"Bulk": {"per_gb": 0.001}}}}})
    assert own.of("GLACIER").tiers["Bulk"].per_gb == Decimal("0.001")
    assert own.of("GLACIER").tiers["Bulk"].per_1000 == LIST_PRICES.of("GLACIER").tiers["Bulk"].per_1000
    assert own.of("GLACIER").storage == LIST_PRICES.of("GLACIER").storage
    assert own.of("VAULT") == LIST_PRICES.of("VAULT")
    assert own.overridden is True
    assert "own figures" in own.name


def test_a_table_of_another_region_names_itself() -> None:
    own = override(
        LIST_PRICES, {"region": "eu-central-1", "currency": "EUR", "as_of": "2027-01-31", "transfer_out": 0.09}
    )
    assert (own.region, own.currency, own.as_of) == ("eu-central-1", "EUR", date(2027, 1, 31))
    assert own.transfer_out == Decimal("0.09")


def test_what_was_written_is_what_counts() -> None:
    """Not the 50 digits of the binary fraction."""
    assert override(LIST_PRICES, {"classes": {"VAULT": {"storage": 0.1}}}).of("VAULT").storage == Decimal("0.1")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"clases": {}}, "prices.clases: there is no such figure"),
        ({"classes": {"GLACIR": {}}}, "prices.classes.GLACIR: there is no such class; there are GLACIER"),
        ({"classes": {"GLACIER": {"storage": "cheap"}}}, "prices.classes.GLACIER.storage: must be a number"),
        ({"classes": {"GLACIER": {"storage": -1}}}, "must be a number from 0 on, not -1"),
        ({"classes": {"GLACIER": {"storage": float("nan")}}}, "must be a number"),
        ({"classes": {"GLACIER": {"storage": True}}}, "must be a number"),
        ({"classes": {"GLACIER": {"minimum_days": 1.5}}}, "minimum_days: must be a whole number"),
        ({"classes": {"GLACIER": {"tiers": {"Fast": {}}}}}, "no such tier; the class has Expedited, Standard, Bulk"),
        ({"classes": {"STANDARD": {"tiers": {"Bulk": {}}}}}, "it is read without a retrieval"),
        ({"classes": {"GLACIER": {"tiers": {"Bulk": 5}}}}, "must be a mapping, as in {per_1000"),
        ({"classes": {"GLACIER": 5}}, "must be a mapping, as in {storage"),
        ({"classes": []}, "prices.classes: must be a mapping"),
        ({"as_of": "yesterday"}, "prices.as_of: must be a date"),
        ({"transfer_out": "x"}, "prices.transfer_out: must be a number"),
    ],
)
def test_a_fault_is_told_by_its_place(given: Any, told: str) -> None:
    with pytest.raises(ValueError, match="prices") as caught:
        override(LIST_PRICES, given)
    assert told in str(caught.value)


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(ValueError) as caught:
        override(LIST_PRICES, {"as_of": "x", "classes": {"GLACIER": {"storage": -1}, "X": {}}})
    assert str(caught.value).count("prices.") == 3


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates(),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["classes", "GLACIER", "tiers", "Bulk", "storage", "per_gb", "as_of", "read", "x"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["classes", "as_of", "currency", "transfer_out", "x"]), VALUES, max_size=3))
def test_whatever_is_written_is_taken_or_refused_by_name(given: dict[str, Any]) -> None:
    told = ""
    own = LIST_PRICES
    try:
        own = override(LIST_PRICES, given)
    except ValueError as error:
        told = str(error)
    assert ("prices" in told) is bool(told)
    assert set(own.classes) == set(STORE_CLASSES)
    assert all(prices.storage >= 0 for prices in own.classes.values())


def test_an_application_has_a_table_of_its_own() -> None:
    entry = an_entry(prices={"as_of": date(2027, 1, 1), "classes": {"GLACIER": {"storage": 1}}})
    application = parse_application("library", entry, origin="test")
    assert application.price_table.of("GLACIER").storage == 1
    assert application.price_table.as_of == date(2027, 1, 1)
    assert Application.from_dict(application.to_dict()) == application
    assert parse_application("library", an_entry(), origin="test").price_table == LIST_PRICES


def test_a_wrong_table_is_a_fault_of_the_file() -> None:
    with pytest.raises(
        ConfigurationError, match=r"prices.classes.GLACIER.storage: must be a number from 0 on"
    ) as caught:
        parse_application("library", an_entry(prices={"classes": {"GLACIER": {"storage": -1}}}), origin="test")
    assert "field 'prices'" in str(caught.value)


@pytest.mark.parametrize("budget", [-1, "25", True, float("inf")])
def test_a_budget_is_an_amount_of_money(budget: Any) -> None:
    with pytest.raises(ConfigurationError, match="an amount of money"):
        parse_application("library", an_entry(restore={"budget": budget}), origin="test")
