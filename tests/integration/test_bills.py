"""What is told of money is what is billed: beside a meter that knows AWS's rules and none of the product's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from glacier_provider.catalog.archives import ArchiveRange
from glacier_provider.core.cost import storage_cost
from glacier_provider.core.parts import MIB
from glacier_provider.core.prices import LIST_PRICES, TierPrice
from glacier_provider.core.tiers import RETRIEVAL_HOURS
from glacier_provider.pipelines import costs, delete, restore
from tests.emulator.meter import DAY, MONTH, Bill, S3Meter, VaultMeter
from tests.emulator.s3 import S3Emulator
from tests.emulator.vault import VaultEmulator
from tests.support.application import ApplicationUnderTest, a_small_dms
from tests.support.vault import VAULT, OnAVault

HOURS = {tier.value: span[1] for tier, span in RETRIEVAL_HOURS["GLACIER"].items()}
LOOK = 3600  # seconds between two looks: fewer than in life, so that the tests are quick
CLASSES = ["GLACIER", "DEEP_ARCHIVE", "GLACIER_IR", "STANDARD_IA"]


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Emulator]:
    """An emulated S3 with a meter and a clock of its own; retrievals take as long as they may."""
    with S3Emulator(retrieval_seconds={tier: most * 3600 for tier, most in HOURS.items()}) as emulator:
        emulator.clock.set_speed(0)
        yield emulator


Metered = tuple[ApplicationUnderTest, Callable[[float, float], Bill]]


@pytest.fixture
def on_s3(s3: S3Emulator, make_application: Callable[..., ApplicationUnderTest]) -> Callable[[str], Metered]:
    def make(storage_class: str) -> Metered:
        s3.clock.set(datetime.now(UTC))  # as the catalog's, which notes when archives were archived
        deep = storage_class == "DEEP_ARCHIVE"
        most = {tier.value: span[1] for tier, span in RETRIEVAL_HOURS["DEEP_ARCHIVE"].items()} if deep else HOURS
        s3.objects.retrievals_take({"Expedited": 60.0} | {tier: hours * 3600 for tier, hours in most.items()})
        app = a_small_dms(
            make_application(storage_class=storage_class, part_size_mib=8, poll_seconds=LOOK, prices=in_millionths())
        )
        meter = S3Meter()
        s3.meter = meter
        return app, meter.bill

    return make


def many_shapes(app: ApplicationUnderTest) -> None:
    """Tiny files, one of some hundred kB, one just below a part, one of three parts, an empty one."""
    for number in range(60):
        app.write(f"tiny/{number}.txt", f"{number}" * 50)
    app.write("empty", b"")
    app.write("middle.bin", b"m" * 300_000)
    app.write("nearly.bin", b"n" * (8 * MIB - 1))
    app.write("large.bin", b"l" * (17 * MIB))


def now(app: ApplicationUnderTest) -> float:
    return app.vault.clock.timestamp() if isinstance(app, OnAVault) else app.s3.clock.timestamp()


def pass_time(app: ApplicationUnderTest, seconds: float) -> None:
    if isinstance(app, OnAVault):
        app.pass_time(timedelta(seconds=seconds))
    else:
        app.s3.clock.advance(seconds)


def is_the_bill(estimate: Decimal, billed: float) -> None:
    """Estimates are in millionths of a dollar here."""
    told = float(estimate) / 10**6
    assert told == pytest.approx(billed, rel=0.02), f"{told / billed if billed else 0:.3f} of it"


def holdings_of(app: ApplicationUnderTest) -> list[Any]:
    return app.catalog.pages.totals([app.application.name])[app.application.name]


def check_backup(app: ApplicationUnderTest, bill: Callable[[float, float], Bill]) -> int:
    """Back up; the requests of it, and a month of storage, are what the page tells."""
    pass_time(app, 60)
    begun = now(app)
    backup_id = app.back_up()
    spent = bill(begun, now(app) + 1)
    (held,) = app.catalog.pages.stored(app.application.name, [backup_id]).values()
    report = app.catalog.backups.get(backup_id)["report"]
    is_the_bill(costs.backup_cost(app.application, held, report), spent.uploads + spent.requests + spent.retrieval)
    stored = costs.held(holdings_of(app))
    since = now(app)
    pass_time(app, 60)
    is_the_bill(storage_cost(stored, app.application.price_table), bill(since, since + MONTH).storage)
    return backup_id


def check_restores(app: ApplicationUnderTest, bill: Callable[[float, float], Bill], tiers: list[str]) -> None:
    """Restore all of it by each tier; what the plan told is the bill."""
    for tier in tiers:
        wish = {"tier": tier, "days": 3} if tier else {}
        for path in app.files.rglob("*"):
            if path.is_file():
                path.unlink()
        with app.catalog_server.connect(autocommit=True) as connection:  # what was retrieved before is cold again
            connection.execute(
                "UPDATE glacier_catalog.glacier_retrievals SET expires_at = now() - interval '1 s'"
                " WHERE state = 'ready'"
            )
        begun = now(app)
        planned = app.plan("latest", **wish)
        bring(app, planned)
        spent = bill(begun, now(app) + 10 * DAY)
        is_the_bill(Decimal(planned["plan"]["cost"]), spent.requests + spent.retrieval + spent.copies)
        app.catalog.restores.fail(planned["restore_id"], "the test has seen enough", step=None)
        pass_time(app, 10 * DAY)


def bring(app: ApplicationUnderTest, planned: dict[str, Any]) -> None:
    restore_id, common = planned["restore_id"], {"catalog": app.catalog, "stores": app.stores}
    ranges = [ArchiveRange.from_dict(share) for share in planned["ranges"]]
    for wanted in ranges:
        restore.request_retrievals(app.application, restore_id, wanted, **common)
    for _ in range(100):
        if app.poll(restore_id).done:
            break
        pass_time(app, LOOK)
    for wanted in ranges:
        restore.download_archives(app.application, restore_id, wanted, **common)


def check_deletion(app: ApplicationUnderTest, bill: Callable[[float, float], Bill], backup_id: int) -> None:
    """After some weeks all that the backup alone needs is deleted; the fee is the rest of its minimum duration."""
    pass_time(app, 17.3 * DAY)
    for path in app.files.rglob("*"):
        if path.is_file():
            path.unlink()
    app.write("last", b"x")
    app.back_up()
    plan = delete.plan_deletion(backup_id, catalog=app.catalog, prices=app.application.price_table)
    assert plan.fee is not None
    pass_time(app, 60)
    begun = now(app)
    delete.delete_backup(app.application, backup_id, app.a_run("delete"), catalog=app.catalog, stores=app.stores)
    is_the_bill(plan.fee, bill(begun, now(app) + 1).early)


TIERS = {"GLACIER": ["Bulk", "Standard", "Expedited"], "DEEP_ARCHIVE": ["Bulk", "Standard"]}


@pytest.mark.parametrize("storage_class", CLASSES)
def test_what_is_told_of_money_is_what_s3_bills(
    on_s3: Callable[[str], Metered], monkeypatch: pytest.MonkeyPatch, storage_class: str
) -> None:
    app, bill = on_s3(storage_class)
    follow_the_clock(app, monkeypatch)
    app.back_up()  # the marker and the first looks
    many_shapes(app)
    backup_id = check_backup(app, bill)
    check_restores(app, bill, TIERS.get(storage_class, [""]))
    check_deletion(app, bill, backup_id)


def test_what_is_told_of_money_is_what_a_vault_bills(on_a_vault: OnAVault, monkeypatch: pytest.MonkeyPatch) -> None:
    app = on_a_vault
    app.configure(poll_seconds=LOOK, part_size_mib=8, prices=in_millionths())
    follow_the_clock(app, monkeypatch)
    meter = VaultMeter(app.vault)
    many_shapes(app)
    backup_id = check_backup(app, meter.bill)
    app.vault.forget_requests()
    check_restores(app, meter.bill, ["Bulk", "Standard", "Expedited"])
    check_deletion(app, meter.bill, backup_id)


@pytest.fixture
def vault(tmp_path: Any) -> Iterator[VaultEmulator]:
    """An emulated vault whose retrievals take as long as they may."""
    seconds = {f"{tier.lower()}_seconds": hours * 3600 for tier, hours in HOURS.items()}
    with VaultEmulator(tmp_path / "emulated-vault", **seconds) as emulator:
        emulator.client().create_vault(vaultName=VAULT)
        yield emulator


def follow_the_clock(app: ApplicationUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Estimates are made by the clock of the store: no test begins on this side of midnight and ends on the other."""

    class Clocked(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime.fromtimestamp(now(app), UTC)

    for module in ("restore.plan", "delete", "costs"):
        monkeypatch.setattr(f"glacier_provider.pipelines.{module}.datetime", Clocked)


def in_millionths() -> dict[str, Any]:
    """Return the list prices a million times over: what the tests do costs some millionths of a dollar."""

    def times(price: Decimal) -> str:
        return str(price * 10**6)

    def tier(price: TierPrice) -> dict[str, str]:
        return {"per_1000": times(price.per_1000), "per_gb": times(price.per_gb)}

    return {
        "classes": {
            name: {
                "storage": times(of.storage),
                "upload_per_1000": times(of.upload_per_1000),
                "read": tier(of.read),
                "tiers": {each: tier(price) for each, price in of.tiers.items()},
            }
            for name, of in LIST_PRICES.classes.items()
        }
    }
