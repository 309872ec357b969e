"""A restore as it is asked for, and the plan that people read before anything is spent."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glacier_provider.core.archive import Amount
from glacier_provider.core.cost import batch_cost, money
from glacier_provider.core.params import truth
from glacier_provider.core.plan import (
    BATCH_FROM,
    Figure,
    RestorePart,
    RestorePlan,
    RestoreRequest,
    plan_by_store,
    plan_from_figures,
    with_costs,
)
from glacier_provider.core.prices import GB, LIST_PRICES, override
from glacier_provider.core.status import RetrievalStatus
from glacier_provider.core.text import hours, readable_size
from glacier_provider.core.tiers import RETRIEVAL_HOURS, Tier, retrieval_hours
from glacier_provider.errors import ConfigurationError

_TABLE_NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20)
REQUESTS = st.builds(
    RestoreRequest,
    backup_id=st.none() | st.integers(1, 2**63 - 1),
    part=st.sampled_from(RestorePart),
    tier=st.none() | st.sampled_from(Tier),
    days=st.none() | st.integers(1, 365),
    tables=st.lists(st.tuples(_TABLE_NAMES, _TABLE_NAMES), max_size=3).map(tuple),
    move_orphans=st.booleans(),
)
AMOUNTS = st.builds(Amount, st.integers(0, 10**7), st.integers(0, 10**15))


def a_request(**params: Any) -> RestoreRequest:
    return RestoreRequest.from_params({"backup_id": 42, **params})


def a_plan(**figures: Any) -> RestorePlan:
    return RestorePlan(backup_id=42, tier=Tier.STANDARD, days=7, **figures)


def refusal(**params: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        a_request(**params)
    return str(caught.value)


# --- what is asked for ---------------------------------------------------------------------------------------------


def test_the_trigger_forms_own_values_ask_for_all_of_the_latest_backup() -> None:
    form = {"backup_id": "latest", "part": "everything", "tier": "Standard", "days": 7, "tables": []}
    request = RestoreRequest.from_params({**form, "move_orphans": True})
    assert request == RestoreRequest(None, RestorePart.EVERYTHING, Tier.STANDARD, 7, (), True)
    assert (request.database, request.files, request.orphans) == (True, True, True)


def test_a_conf_needs_the_backup_id_alone() -> None:
    assert RestoreRequest.from_params({"backup_id": 42}) == RestoreRequest(42)


@pytest.mark.parametrize(("given", "expected"), [("latest", None), (42, 42), ("42", 42), (" 42\n", 42), (2**40, 2**40)])
def test_a_backup_is_named_by_its_id_or_as_the_latest(given: Any, expected: int | None) -> None:
    assert a_request(backup_id=given).backup_id == expected


@pytest.mark.parametrize(
    "given",
    [
        *(
            None,
            "",
            "0",
            0,
            -1,
            "-1",
            "abc",
            "42 43",
            "4_2",
            "+42",
            "0x2a",
            "42.0",
            42.0,
            "Latest",
            "latest ",
            "newest",
        ),
        *(True, False, [42], {}, 2**63, "9" * 30, "9" * 5000),
    ],
)
def test_what_is_no_backup_id_is_refused_with_an_example(given: Any) -> None:
    assert refusal(backup_id=given) == (
        f'backup_id is {given!r}, which is no backup id. Give a number or "latest", as in {{"backup_id": 42}}.'
    )


def test_a_conf_without_a_backup_id_does_not_restore_the_latest() -> None:
    with pytest.raises(ConfigurationError, match="backup_id is None"):
        RestoreRequest.from_params({})


@pytest.mark.parametrize("name", ["backup", "backupid", "Backup_Id", "table", "database"])
def test_a_misspelt_param_is_refused_and_not_passed_over(name: str) -> None:
    """The form's default for backup_id is "latest": a conf {"backup": 41} would otherwise restore another backup."""
    said = refusal(**{name: 41})
    assert said.startswith(f"There is no param {name!r}.")
    assert "backup_id, part, tier, days, tables, move_orphans" in said


@pytest.mark.parametrize("part", list(RestorePart))
def test_a_part_is_restored_and_the_other_left(part: RestorePart) -> None:
    request = a_request(part=part.value)
    assert request.part is part
    assert request.database is (part is not RestorePart.FILES)
    assert request.files is (part is not RestorePart.DATABASE)


@pytest.mark.parametrize("given", [None, ""])
def test_what_is_left_empty_is_the_default(given: Any) -> None:
    request = a_request(part=given, tier=given, days=given, tables=given)
    assert (request.part, request.tier, request.days, request.tables) == (RestorePart.EVERYTHING, None, None, ())


@pytest.mark.parametrize("part", ["Everything", "db", 1, ["files"], {"files": True}])
def test_an_unknown_part_is_refused_with_the_known_ones(part: Any) -> None:
    assert refusal(part=part) == f"part is {part!r}. Known values: everything, database, files."


@pytest.mark.parametrize("tier", list(Tier))
def test_a_tier_is_taken_by_its_name(tier: Tier) -> None:
    assert a_request(tier=tier.value).tier is tier


@pytest.mark.parametrize("tier", ["standard", "Fast", 3, ["Bulk"]])
def test_an_unknown_tier_is_refused_with_the_known_ones(tier: Any) -> None:
    assert refusal(tier=tier) == f"tier is {tier!r}. Known values: Expedited, Standard, Bulk."


@pytest.mark.parametrize(("given", "expected"), [(1, 1), (365, 365), ("7", 7)])
def test_days_are_a_whole_number(given: Any, expected: int) -> None:
    assert a_request(days=given).days == expected


@pytest.mark.parametrize("given", [0, 366, -1, 1.5, "1.5", "a week", True, [7], "9" * 5000])
def test_days_beyond_a_year_or_none_are_refused(given: Any) -> None:
    assert refusal(days=given) == f"days is {given!r}. Give a whole number of days from 1 to 365, as in 7."


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["public.documents"], [("public", "documents")]),
        (["documents", '"My App"."T.1"'], [("public", "documents"), ("My App", "T.1")]),
        (["Documents"], [("public", "Documents")]),
        (("audit.log",), [("audit", "log")]),
        ("public.documents", [("public", "documents")]),
        ("public.documents\naudit.log\n", [("public", "documents"), ("audit", "log")]),
        ([" ", "tags"], [("public", "tags")]),
    ],
)
def test_tables_are_a_list_or_lines(given: Any, expected: list[tuple[str, str]]) -> None:
    assert a_request(tables=given).tables == tuple(expected)


@pytest.mark.parametrize("given", [5, {"public": "documents"}, [5], [None], [["public", "documents"]]])
def test_tables_of_another_form_are_refused_with_an_example(given: Any) -> None:
    assert refusal(tables=given) == f'tables is {given!r}. Give a list of names, as in ["public.documents"].'


def test_what_names_no_table_is_refused() -> None:
    assert "'a.b.c' names no table" in refusal(tables=["public.documents", "a.b.c"])


@pytest.mark.parametrize(("given", "expected"), [(True, True), (False, False), ("true", True), ("False", False)])
def test_orphans_stay_when_it_is_said(given: Any, expected: bool) -> None:
    assert a_request(move_orphans=given).move_orphans is expected


@pytest.mark.parametrize("given", [None, 0, 1, "no", "", [], "0"])
def test_what_is_neither_true_nor_false_is_not_guessed(given: Any) -> None:
    assert refusal(move_orphans=given) == f"move_orphans is {given!r}. Give true or false."
    with pytest.raises(ConfigurationError, match="undo is"):
        truth(given, "undo")


@given(REQUESTS)
def test_orphans_move_only_when_everything_is_restored(request: RestoreRequest) -> None:
    whole = request.part is RestorePart.EVERYTHING and request.tables == ()
    assert request.orphans is (whole and request.move_orphans)


@given(REQUESTS)
def test_a_request_comes_back_from_the_catalog(request: RestoreRequest) -> None:
    assert RestoreRequest.from_params(json.loads(json.dumps(request.as_dict()))) == request


# --- the plan ------------------------------------------------------------------------------------------------------


@given(AMOUNTS, AMOUNTS, AMOUNTS)
def test_amounts_add_up_in_any_order(one: Amount, other: Amount, third: Amount) -> None:
    assert one + other == other + one
    assert (one + other) + third == one + (other + third)
    assert one + Amount() == one


FIGURES = st.lists(st.tuples(st.sampled_from(["store", "orphan"]), st.sampled_from(RetrievalStatus), AMOUNTS))


@given(FIGURES, st.booleans())
def test_every_archive_has_one_place_in_the_plan(
    figures: list[tuple[str, RetrievalStatus, Amount]], retrieval: bool
) -> None:
    plan = plan_from_figures(a_plan(), figures, retrieval=retrieval)
    assert sum((amount for *_, amount in figures), Amount()) == plan.set_aside + plan.to_bring
    assert plan.to_bring == plan.to_request + plan.pending + plan.ready
    assert plan.set_aside == sum((amount for source, _, amount in figures if source == "orphan"), Amount())


def test_what_is_in_the_cold_is_asked_for_and_what_was_asked_for_is_not_again() -> None:
    figures = [
        ("store", RetrievalStatus.AVAILABLE, Amount(3, 300)),
        ("store", RetrievalStatus.AVAILABLE, Amount(1, 100)),
        ("store", RetrievalStatus.PENDING, Amount(2, 20)),
        ("store", RetrievalStatus.READY, Amount(1, 1)),
        ("store", RetrievalStatus.LOCAL, Amount(1, 2)),
        ("orphan", RetrievalStatus.AVAILABLE, Amount(5, 50)),
    ]
    plan = plan_from_figures(a_plan(database_bytes=9), figures, retrieval=True)
    assert plan == a_plan(
        database_bytes=9, to_request=Amount(4, 400), pending=Amount(2, 20), ready=Amount(2, 3), set_aside=Amount(5, 50)
    )


@pytest.mark.parametrize("status", list(RetrievalStatus))
def test_a_store_without_retrievals_gives_everything_at_once(status: RetrievalStatus) -> None:
    assert plan_from_figures(a_plan(), [("store", status, Amount(1, 10))], retrieval=False) == a_plan(
        ready=Amount(1, 10)
    )


def test_a_plan_travels_as_json() -> None:
    plan = a_plan(to_request=Amount(2, 20), hours=RETRIEVAL_HOURS["GLACIER"], lost=("a.pdf",))
    told = json.loads(json.dumps(plan.as_dict()))
    assert told["tier"] == "Standard"
    assert told["to_request"] == {"archives": 2, "bytes": 20}
    assert told["hours"]["Bulk"] == [5, 12]
    assert told["lost"] == ["a.pdf"]


def test_a_plan_reads_as_a_person_would_say_it() -> None:
    plan = a_plan(
        present=Amount(1000, 5_000_000),
        set_aside=Amount(1, 10),
        to_request=Amount(3, 2_500_000_000),
        pending=Amount(1, 100),
        ready=Amount(1, 200),
        database_bytes=2_400_000_000,
        hours={"Standard": (3, 5), "Expedited": (1 / 60, 5 / 60)},
        differing=("a.pdf",),
        differing_count=1,
        lost=("b.pdf", "c.pdf"),
        lost_count=12,
        known=("Does not hold 1 file that the database names: d.pdf.",),
    )
    assert plan.lines() == [
        "Backup 42: database 2.4 GB, 1,000 files (5.0 MB) in the directory already.",
        "To retrieve from the cold: 3 archives (2.5 GB).",
        "Retrieved or requested earlier: 2 archives (300 B).",
        "To move back from the orphan directory, at no cost: 1 archive (10 B).",
        "  Standard (chosen): typically 3 hours to 5 hours.",
        "  Expedited: typically 1 minute to 5 minutes.",
        "Left alone, since their content is another: 1 file (a.pdf).",
        "LOST, in no store any more or not as it was written: 12 files (b.pdf, c.pdf and 10 more).",
        "Does not hold 1 file that the database names: d.pdf.",
    ]


def test_a_plan_without_retrievals_says_no_hours() -> None:
    assert a_plan(hours=RETRIEVAL_HOURS["GLACIER"]).lines() == [
        "Backup 42: database 0 B, 0 files (0 B) in the directory already.",
        "To retrieve from the cold: 0 archives (0 B).",
    ]


def test_deep_archive_has_no_expedited_retrievals() -> None:
    assert set(RETRIEVAL_HOURS["DEEP_ARCHIVE"]) == {Tier.STANDARD, Tier.BULK}
    assert set(RETRIEVAL_HOURS["GLACIER"]) == set(RETRIEVAL_HOURS["VAULT"]) == set(Tier)


def test_the_tiers_of_a_class_come_from_the_fastest_to_the_slowest() -> None:
    assert list(retrieval_hours("s3://bucket?storage_class=GLACIER")) == ["Expedited", "Standard", "Bulk"]
    assert list(retrieval_hours("glacier://v")) == list(Tier) == ["Expedited", "Standard", "Bulk"]
    assert list(retrieval_hours("s3://bucket?storage_class=DEEP_ARCHIVE")) == ["Standard", "Bulk"]


@pytest.mark.parametrize("kind", list(RETRIEVAL_HOURS))
def test_a_slower_tier_takes_longer(kind: str) -> None:
    times = [RETRIEVAL_HOURS[kind][tier] for tier in Tier if tier in RETRIEVAL_HOURS[kind]]
    assert times == sorted(times)
    assert all(fewest < most for fewest, most in times)


COLD, DEEP, WARM = (f"s3://bucket?storage_class={name}" for name in ("GLACIER", "DEEP_ARCHIVE", "GLACIER_IR"))


@pytest.mark.parametrize(
    ("uri", "hours_of"),
    [
        ("s3://bucket", "GLACIER"),
        ("s3://bucket/DEEP_ARCHIVE?storage_class=GLACIER", "GLACIER"),
        (DEEP, "DEEP_ARCHIVE"),
        ("glacier://DEEP_ARCHIVE", "VAULT"),
    ],
)
def test_hours_go_by_the_class_of_a_store_and_not_by_its_name(uri: str, hours_of: str) -> None:
    assert retrieval_hours(uri) == RETRIEVAL_HOURS[hours_of]


def test_a_store_that_is_read_at_once_has_no_hours() -> None:
    assert retrieval_hours(WARM) == {}


def test_a_plan_adds_up_what_each_store_takes() -> None:
    figures = [
        Figure(WARM, "store", RetrievalStatus.AVAILABLE, Amount(4, 4 * GB)),
        Figure(DEEP, "store", RetrievalStatus.AVAILABLE, Amount(2, 2 * GB)),
        Figure(COLD, "store", RetrievalStatus.AVAILABLE, Amount(1, GB)),
        Figure(COLD, "store", RetrievalStatus.PENDING, Amount(3, GB)),
        Figure(COLD, "orphan", RetrievalStatus.AVAILABLE, Amount(5, GB)),
    ]
    plan = plan_by_store(a_plan(set_aside=Amount(1, 1)), figures, LIST_PRICES, budget=5)
    assert (plan.to_request, plan.pending, plan.ready) == (Amount(3, 3 * GB), Amount(3, GB), Amount(4, 4 * GB))
    assert plan.set_aside == Amount(6, GB + 1)
    assert plan.hours == {"Expedited": (1 / 60, 5 / 60), "Standard": (9, 12), "Bulk": (12, 48)}, "the slowest of both"
    assert list(plan.costs) == ["Standard", "Bulk"], "DEEP_ARCHIVE has no Expedited retrievals"
    parts = [("GLACIER", Amount(1, GB), Amount(3, GB)), ("DEEP_ARCHIVE", Amount(2, 2 * GB), Amount())]
    parts.append(("GLACIER_IR", Amount(), Amount(4, 4 * GB)))
    assert plan.costs == with_costs(a_plan(), parts, LIST_PRICES, budget=5).costs


def very_many(tier: Tier = Tier.BULK, **archives: int) -> tuple[RestorePlan, RestorePlan]:
    """Return the plans of what is in the cold of these stores, one by one and by jobs."""
    stores = {"vault": "glacier://attachments", "deep": DEEP, "cold": COLD, "warm": WARM}
    figures = [
        Figure(stores[name], "store", RetrievalStatus.AVAILABLE, Amount(count, count))
        for name, count in archives.items()
    ]
    figures.append(Figure(COLD, "store", RetrievalStatus.PENDING, Amount(BATCH_FROM, BATCH_FROM)))
    one_by_one, by_jobs = (
        plan_by_store(replace(a_plan(), tier=tier), figures, LIST_PRICES, budget=5, batch=batch)
        for batch in (False, True)
    )
    assert (one_by_one.by_batch, one_by_one.batch_fee) == ({}, 0)
    return one_by_one, by_jobs


def test_from_so_many_on_a_job_asks_for_what_lies_in_a_store() -> None:
    _, few = very_many(cold=BATCH_FROM - 1)
    assert (few.by_batch, few.batch_fee) == ({}, 0)
    _, many = very_many(cold=BATCH_FROM)
    assert many.by_batch == {COLD: BATCH_FROM}, "what is pending already is not asked for"
    _, in_a_vault = very_many(vault=BATCH_FROM)
    assert in_a_vault.by_batch == {}, "a vault knows no such jobs"


def test_each_store_has_its_job_and_each_job_its_price_by_the_tiers_that_jobs_know() -> None:
    one_by_one, by_jobs = very_many(cold=BATCH_FROM, deep=2 * BATCH_FROM, warm=5)
    fee = batch_cost(BATCH_FROM, LIST_PRICES) + batch_cost(2 * BATCH_FROM, LIST_PRICES)
    assert (by_jobs.by_batch, by_jobs.batch_fee) == ({COLD: BATCH_FROM, DEEP: 2 * BATCH_FROM}, fee)
    more = {tier: by_jobs.costs[tier].total - one_by_one.costs[tier].total for tier in by_jobs.costs}
    assert more == {"Standard": fee, "Bulk": fee}


def test_by_the_quickest_tier_each_is_asked_for_by_itself_and_no_job_is_paid() -> None:
    one_by_one, by_jobs = very_many(Tier.EXPEDITED, cold=BATCH_FROM)
    assert (by_jobs.by_batch, by_jobs.batch_fee, by_jobs.cost) == ({}, 0, one_by_one.cost)
    assert by_jobs.costs["Expedited"] == one_by_one.costs["Expedited"]


def test_a_plan_says_what_its_jobs_cost_beside_the_price_one_by_one() -> None:
    one_by_one, by_jobs = very_many(cold=BATCH_FROM)
    (line,) = [line for line in by_jobs.lines() if "Batch" in line]
    assert line.startswith(f"1 job of S3 Batch Operations will ask for {BATCH_FROM:,} archives, for ")
    assert line.endswith(f"more than one by one ({money(one_by_one.cost, 'USD')}).")


# --- words ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (1_500_000, "1.5 MB"),
        (2_500_000_000, "2.5 GB"),
        (10**12, "1.0 TB"),
        (5 * 10**15, "5000.0 TB"),
    ],
)
def test_sizes_in_powers_of_a_thousand(size: int, expected: str) -> None:
    assert readable_size(size) == expected


@given(st.integers(0, 10**17))
def test_a_size_is_never_off_by_more_than_its_last_digit(size: int) -> None:
    number, unit = readable_size(size).split()
    factor = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}[unit]
    assert abs(float(number) * factor - size) <= 0.0501 * factor
    assert unit == "TB" or float(number) < 1000


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (1 / 60, "1 minute"),
        (5 / 60, "5 minutes"),
        (1, "1 hour"),
        (12, "12 hours"),
        (48.0, "48 hours"),
        (3.5, "3.5 hours"),
    ],
)
def test_hours_in_words(count: float, expected: str) -> None:
    assert hours(count) == expected


# --- what it costs ---------------------------------------------------------------------------------------------------


def priced(budget: float | None = None, **given: Any) -> RestorePlan:
    """A plan to bring a thousand archives of 10 GB in all from GLACIER, kept for 30 days."""
    asked = Amount(1000, 10 * GB)
    hours = {tier.value: span for tier, span in RETRIEVAL_HOURS["GLACIER"].items()}
    plan = RestorePlan(backup_id=42, tier=Tier.STANDARD, days=30, to_request=asked, hours=hours, **given)
    return with_costs(plan, [("GLACIER", asked, Amount())], LIST_PRICES, budget=budget)


def test_a_plan_tells_the_money_of_each_tier_and_what_it_goes_to() -> None:
    said = priced().lines()
    assert any("Expedited: typically 1 minute to 5 minutes, 10.53 USD." in line for line in said), said
    assert any("Standard (chosen): typically 3 hours to 5 hours, 0.38 USD." in line for line in said)
    assert any("Bulk: typically 5 hours to 12 hours, 0.23 USD." in line for line in said)
    assert (
        "Estimated cost: 0.38 USD (requests 0.05 USD, bytes 0.10 USD, reading and looking less than 0.01 USD, "
        "copies for 30 days 0.23 USD), "
        "by the prices of us-east-1 on 2026-11-21." in said
    )


@pytest.mark.parametrize(("budget", "over"), [(None, False), (0.3804, False), (0.38, True), (0, True)])
def test_a_plan_knows_when_it_passes_the_budget(budget: float | None, over: bool) -> None:
    plan = priced(budget)
    assert plan.over_budget is over
    assert plan.as_dict()["over_budget"] is over
    assert any("more than the budget" in line for line in plan.lines()) is over


def test_money_in_a_recorded_plan_is_decimal_text() -> None:
    told = json.loads(json.dumps(priced(25).as_dict()))
    assert (told["cost"], told["budget"], told["currency"]) == ("0.380400", "25.000000", "USD")
    assert told["costs"]["Expedited"]["requests"] == "10.000000"
    assert list(told["costs"]) == ["Expedited", "Standard", "Bulk"]


def test_a_plan_that_was_not_priced_tells_no_money() -> None:
    assert not any("USD" in line or "cost" in line.lower() for line in a_plan().lines())
    assert a_plan().as_dict()["costs"] == {}


def test_own_prices_are_told_as_such() -> None:
    asked = Amount(1000, GB)
    own = override(LIST_PRICES, {"currency": "EUR", "region": "eu-central-1"})
    said = with_costs(a_plan(to_request=asked), [("GLACIER", asked, Amount())], own, budget=None).lines()
    assert any("EUR" in line and "eu-central-1" in line and "own figures" in line for line in said)


def test_an_approval_can_be_asked_for() -> None:
    assert a_request(approve="true").approve is True
    assert a_request().approve is False
    assert "approve" in refusal(approve="perhaps")


def test_older_copies_of_the_restore_dag_still_find_what_they_import() -> None:
    from glacier_provider.core.plan import Part

    assert Part is RestorePart
