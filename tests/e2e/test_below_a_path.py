"""The page in a browser, of an Airflow whose base URL has a path: from the login to a backup that is complete."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect, sync_playwright

from tests.e2e.ui_site import PAGE, a_chromium, a_page, a_site, chromium, log_in

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(900),
    pytest.mark.skipif(chromium() is None, reason="no Chromium is installed"),
]
BELOW = "/some/where"


def test_a_backup_is_made_and_opened_below_a_path(tmp_path_factory: pytest.TempPathFactory) -> None:
    directory = tmp_path_factory.mktemp("site")
    directory.chmod(0o755)
    with a_site(directory, BELOW) as site, sync_playwright() as playwright, a_chromium(playwright) as browser:
        page = log_in(a_page(browser), site)
        page.set_default_timeout(120_000)
        missing: list[str] = []
        page.on("response", lambda one: missing.append(one.url) if one.status == 404 and "glacier" in one.url else None)
        page.goto(site.url + PAGE)
        page.get_by_role("button", name="Back up now").first.click()
        page.get_by_role("alertdialog").get_by_role("button", name="Unpause and back up").click()
        expect(page.get_by_text("The backup you started is complete")).to_be_visible(timeout=300_000)
        page.get_by_role("link", name="#1", exact=True).click()
        expect(page.get_by_role("heading", level=1)).to_contain_text("1")
        assert urlsplit(page.url).path.startswith(f"{BELOW}{PAGE}")
        assert missing == []
