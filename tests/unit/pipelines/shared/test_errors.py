"""Of many errors the gravest is raised: a retry must not be spent on what no retry can help."""

from __future__ import annotations

import logging

import pytest

from glacier_provider.errors import (
    GlacierProviderError,
    OutOfSpace,
    StoreDenied,
    StoreError,
    StoreMissing,
    StoreUnavailable,
)
from glacier_provider.pipelines.shared import errors
from glacier_provider.pipelines.shared.errors import (
    GatheredErrors,
    gravest,
    log_errors,
    raise_gravest,
    raise_gravest_named,
)

BUSY, DENIED, MISSING = StoreUnavailable("It is busy."), StoreDenied("No."), StoreMissing("No bucket.", hint="Make it.")


@pytest.mark.parametrize(
    ("errors", "expected"),
    [([BUSY, DENIED, MISSING], DENIED), ([MISSING, BUSY], MISSING), ([BUSY, StoreUnavailable()], BUSY), ([], None)],
)
def test_a_final_error_outranks_one_that_passes_and_the_first_stands_for_its_like(
    errors: list[GlacierProviderError], expected: GlacierProviderError | None
) -> None:
    assert gravest(errors) is expected


def test_one_that_passes_does_not_hide_a_final_one() -> None:
    with pytest.raises(StoreDenied) as raised:
        raise_gravest(iter([BUSY, DENIED]), "copy", "could not be deleted")
    assert not raised.value.retryable
    assert raised.value.message == "2 copies could not be deleted: No."
    assert raised.value.__cause__ is DENIED


def test_type_and_hint_of_the_gravest_are_kept() -> None:
    with pytest.raises(StoreError) as raised:
        raise_gravest([BUSY, MISSING], "request", "refused")
    assert (type(raised.value), raised.value.hint) == (StoreMissing, "Make it.")


def test_without_errors_nothing_is_raised() -> None:
    raise_gravest([], "file", "could not be archived")
    raise_gravest_named([], "file", "could not be archived")


def test_the_gravest_is_named_first_and_five_in_all() -> None:
    errors: list[tuple[str, GlacierProviderError]] = [(f"{number}.pdf", BUSY) for number in range(9)]
    with pytest.raises(StoreDenied) as raised:
        raise_gravest_named([*errors, ("a.pdf", DENIED)], "file", "could not be archived")
    assert raised.value.message == "10 files could not be archived (a.pdf, 0.pdf, 1.pdf, 2.pdf, 3.pdf): No."


def test_the_first_hundred_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    log_errors(logging.getLogger("tests.errors"), [(f"{number}.pdf", DENIED) for number in range(150)])
    assert [record.getMessage() for record in caplog.records] == [f"{number}.pdf: {DENIED}" for number in range(100)]


def test_of_very_many_failures_all_are_counted_and_the_first_are_kept() -> None:
    failures = GatheredErrors("archive", "could not be brought")
    for number in range(1000):
        failures.add(f"{number}.pdf", BUSY)
    failures.add("a.pdf", DENIED)
    assert sum(len(kept) for kept in failures._kept.values()) == 101
    with pytest.raises(StoreDenied) as raised:
        failures.raise_gravest(named=True)
    assert raised.value.message == "1,001 archives could not be brought (a.pdf, 0.pdf, 1.pdf, 2.pdf, 3.pdf): No."


def test_without_failures_nothing_is_raised_and_names_are_told_where_they_are_wanted() -> None:
    failures = GatheredErrors("retrieval", "refused")
    failures.raise_gravest(named=True)
    failures.add("key", MISSING)
    with pytest.raises(StoreMissing) as raised:
        failures.raise_gravest(named=False)
    assert (raised.value.message, raised.value.hint) == ("1 retrieval refused: No bucket.", "Make it.")


def test_what_fails_for_ten_minutes_without_a_success_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(errors.time, "monotonic", lambda: now[0])
    failures = GatheredErrors("archive", "could not be brought")
    for seconds in (0.0, 500.0, 1400.0):
        now[0] = seconds
        failures.add("a.pdf", BUSY)  # these are few
    failures.succeeded()
    for number in range(25):
        now[0] = 2000.0 + number
        failures.add("a.pdf", BUSY)
    now[0] = 2601.0
    with pytest.raises(StoreUnavailable) as raised:
        failures.add("a.pdf", BUSY)
    assert raised.value.message == "For 10 minutes all has failed, 26 archives in a row: It is busy."


def test_a_disk_that_is_full_ends_all_at_once() -> None:
    full = OutOfSpace("It is full.")
    with pytest.raises(OutOfSpace) as raised:
        GatheredErrors("archive", "could not be brought").add("a.pdf", full)
    assert raised.value is full
