"""The pictures of the documents, taken from a running Airflow: ``python -m tests.e2e.screenshots docs/images``."""

from __future__ import annotations

import argparse
import re
import tempfile
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright

from tests.e2e.ui_site import PAGE, Site, a_chromium, a_page, a_site, log_in, shoot
from tests.support.prometheus import RULES, Prometheus, program

LONG = 900_000
TOKEN = "of-the-monitoring"
HEIGHT = 860


def main() -> None:
    """Start a site, let it back up and restore, and keep six pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path, help="where the pictures go")
    images: Path = parser.parse_args().directory
    images.mkdir(parents=True, exist_ok=True)
    expect.set_options(timeout=60_000)
    with tempfile.TemporaryDirectory(prefix="glacier-screenshots-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        sites = a_site(directory, settings={"AIRFLOW__GLACIER_PROVIDER__METRICS_TOKEN": TOKEN})
        with sites as site, sync_playwright() as playwright, a_chromium(playwright) as browser:
            page = log_in(a_page(browser, height=HEIGHT), site)
            _live_through(page, site)
            _overview(page, site, images / "overview.png")
            _table(page, site, images / "table.png")
            _alerts(page, site, directory / "prometheus", images / "alerts.png")
            _examination(page, site, images / "examination.png")
            _plan(page, site, images / "restore-plan.png")
            _graph(page, images / "restore-run.png")
    for image in sorted(images.glob("*.png")):
        print(f"{image} {image.stat().st_size // 1000} kB")


def _live_through(page: Page, site: Site) -> None:
    """Two backups, with files that come and go between them, beside two applications with a year behind them."""
    _back_up(page, site, 1)
    site.remember_a_year()
    site.remove_files(range(1, 31))
    for number in range(41, 47):
        site.file(number).write_bytes(b"%PDF" + bytes([number]) * 30_000)
    _back_up(page, site, 2)


def _back_up(page: Page, site: Site, number: int) -> None:
    page.goto(f"{site.url}{PAGE}/dms")
    page.get_by_role("button", name="Back up now").click()
    if number == 1:
        page.get_by_role("button", name="Unpause and back up").click()
    expect(page.get_by_text("The backup you started is complete")).to_be_visible(timeout=LONG)


def _overview(page: Page, site: Site, image: Path) -> None:
    """All cards, down to what was proven of each."""
    page.set_viewport_size({"width": 1400, "height": 1120})
    page.goto(site.url + PAGE)
    expect(page.get_by_text("Last proven")).to_be_in_viewport()
    shoot(page, image)
    page.set_viewport_size({"width": 1400, "height": HEIGHT})


def _table(page: Page, site: Site, image: Path) -> None:
    page.goto(f"{site.url}{PAGE}/wiki")
    expect(page.get_by_role("row").nth(1)).to_be_visible()
    shoot(page, image)


def _examination(page: Page, site: Site, image: Path) -> None:
    """What a worker found wrong with dms, each with its mend."""
    page.goto(f"{site.url}{PAGE}/dms")
    page.get_by_role("button", name="Examine …").click()
    expect(page.get_by_text("no lifecycle rule aborts incomplete uploads")).to_be_visible(timeout=LONG)
    expect(page.get_by_text("A worker looks")).to_have_count(0)
    shoot(page, image)


def _alerts(page: Page, site: Site, directory: Path, image: Path) -> None:
    """What the package's rules call for, as Prometheus shows it; left out where Prometheus is not installed."""
    if program() is None:
        print("prometheus is not here (Debian's package prometheus): its picture stays as it is.")
        return
    with Prometheus(directory, site.url, TOKEN) as prometheus:
        prometheus.wait_for(lambda firing: any(one["alertname"] == "GlacierBackupFailed" for one in firing))
        page.goto(f"{prometheus.url}/classic/alerts")  # the pages that Debian's package has
        page.locator("#alertFilters label").first.click()  # those that are inactive are not shown
        page.locator("td", has_text=RULES.name).evaluate("cell => cell.remove()")  # where they lie on this machine
        page.get_by_role("button", name="Show annotations").click()
        page.locator(".alert_header", has_text="GlacierBackupFailed").click()
        expect(page.get_by_text("the last backup failed").last).to_be_visible()
        page.screenshot(path=str(image))


def _plan(page: Page, site: Site, image: Path) -> None:
    with site.looked_at_as_in_life():
        page.goto(f"{site.url}{PAGE}/dms/backups/1/restore")
        expect(page.get_by_role("button", name="Start the restore")).to_be_enabled()
        shoot(page, image)


def _graph(page: Page, image: Path) -> None:
    """The graph of the restore that the plan's button starts, while it waits for the cold."""
    page.get_by_role("button", name="Start the restore").click()
    expect(page).to_have_url(re.compile("/dags/glacier_restore__dms/runs/manual"))
    expect(page.get_by_test_id("rf__node-close_restore").first).to_be_visible()
    page.goto(f"{page.url.partition('?')[0]}/plugin/glacier-run")
    expect(page.get_by_text("expected between")).to_be_visible(timeout=LONG)
    expect(page.get_by_text("deferred").first).to_be_visible(timeout=LONG)
    page.screenshot(path=str(image))


if __name__ == "__main__":
    main()
