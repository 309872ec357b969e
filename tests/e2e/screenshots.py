"""The pictures of the documents, taken from a running Airflow: ``python -m tests.e2e.screenshots docs/images``."""

from __future__ import annotations

import argparse
import re
import tempfile
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright

from tests.e2e.ui_site import PAGE, Site, a_chromium, a_page, a_site, log_in, shoot

LONG = 900_000
HEIGHT = 860


def main() -> None:
    """Start a site, let it back up and restore, and keep five pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path, help="where the pictures go")
    images: Path = parser.parse_args().directory
    images.mkdir(parents=True, exist_ok=True)
    expect.set_options(timeout=60_000)
    with tempfile.TemporaryDirectory(prefix="glacier-screenshots-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        with a_site(directory) as site, sync_playwright() as playwright, a_chromium(playwright) as browser:
            page = log_in(a_page(browser, height=HEIGHT), site)
            _live_through(page, site)
            _overview(page, site, images / "overview.png")
            _table(page, site, images / "table.png")
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
