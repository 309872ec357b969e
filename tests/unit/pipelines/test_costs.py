"""What bringing everything back costs, as the page and `glacier-backup costs` tell it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from glacier_provider.applications.fields import VerifyOptions
from glacier_provider.core.cost import Stored, batch_cost, plain
from glacier_provider.core.plan import BATCH_FROM
from glacier_provider.core.prices import LIST_PRICES
from glacier_provider.pipelines.costs import whole_retrieval
from tests.support.application import an_application

NOW = datetime(2026, 11, 30, tzinfo=UTC)
NOTHING = plain(Decimal(0))
ROLE = "arn:aws:iam::123456789012:role/glacier-batch"


def fees(directory: Path, *stored: Stored, batch: str = "auto", role: str | None = ROLE) -> dict[str, str]:
    """Return by tier what jobs add to what asking one by one costs."""
    application = an_application(
        directory, store="s3://archive", retrieval_batch=batch, verify=VerifyOptions(role_arn=role)
    )
    singly = whole_retrieval(replace(application, retrieval_batch="never"), stored, NOW)
    by_jobs = whole_retrieval(application, stored, NOW)
    return {tier: plain(cost.total - singly[tier].total) for tier, cost in by_jobs.items()}


def test_very_many_archives_of_a_class_cost_the_fee_of_the_job_that_asks_for_them(tmp_path: Path) -> None:
    fee = batch_cost(BATCH_FROM, LIST_PRICES)
    manifests = Stored("STANDARD", BATCH_FROM, BATCH_FROM)
    cold = Stored("GLACIER", BATCH_FROM, 9)
    assert fees(tmp_path, cold, manifests) == {"Expedited": NOTHING, "Standard": plain(fee), "Bulk": plain(fee)}
    both = plain(fee + batch_cost(BATCH_FROM + 1, LIST_PRICES))
    deep = Stored("DEEP_ARCHIVE", BATCH_FROM + 1, 9)
    assert fees(tmp_path, cold, deep) == {"Standard": both, "Bulk": both}


@pytest.mark.parametrize(
    ("stored", "how"),
    [
        (Stored("GLACIER", BATCH_FROM - 1, 9), {}),
        (Stored("GLACIER", BATCH_FROM, 9), {"batch": "never"}),
        (Stored("GLACIER", BATCH_FROM, 9), {"role": None}),
        (Stored("VAULT", BATCH_FROM, 9), {}),
        (Stored("GLACIER_IR", BATCH_FROM, 9), {}),
    ],
)
def test_no_fee_is_told_where_no_job_asks(tmp_path: Path, stored: Stored, how: dict[str, Any]) -> None:
    assert set(fees(tmp_path, stored, **how).values()) == {NOTHING}
