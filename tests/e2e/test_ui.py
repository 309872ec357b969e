"""The page in a real Airflow, used by a person in a real browser.

With SCREENSHOTS=directory the screenshots are kept there, otherwise in pytest's temporary directory.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

playwright_api = pytest.importorskip("playwright.sync_api", reason="the browser tests need playwright")

from playwright.sync_api import Locator, Page, Playwright, expect, sync_playwright  # noqa: E402

from demo.airflow import USER  # noqa: E402
from tests.e2e.ui_site import VIEWER, Site, a_browser, a_site, chromium, logged_in  # noqa: E402

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(chromium() is None, reason="no Chromium is installed (Debian: apt-get install chromium)"),
]
PAGE = "/plugin/glacier-backups"
PATHS = {"overview": "", "table": "/dms", "backup": "/dms/backups/1", "plan": "/dms/backups/1/restore"}
LONG = 240_000
expect.set_options(timeout=60_000)  # a busy machine is slow, not wrong


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("site")
    directory.chmod(0o755)
    with a_site(directory) as running:
        yield running


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="module")
def shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = Path(os.environ.get("SCREENSHOTS") or tmp_path_factory.mktemp("screenshots"))
    directory.mkdir(parents=True, exist_ok=True)
    return directory


@pytest.fixture(scope="module")
def page(playwright: Playwright, site: Site) -> Iterator[Page]:
    """The administrator's browser, open during all tests."""
    with a_browser(playwright) as browser:
        yield logged_in(browser, site)


@pytest.fixture
def problems(page: Page) -> Iterator[list[str]]:
    """What the page complains of in the console."""
    found: list[str] = []

    def note(error: Any) -> None:
        found.append(str(error))

    page.on("pageerror", note)
    yield found
    page.remove_listener("pageerror", note)


def card_of(page: Page, application: str = "dms") -> Locator:
    return page.get_by_role("region", name=application, exact=True)


def shot(page: Page, path: Path) -> None:
    page.wait_for_timeout(500)  # of transitions, so that the picture is still
    page.screenshot(path=str(path))


def accessibility_faults(page: Page) -> list[str]:
    """Return what axe finds wrong inside our page (Airflow's frame around it is not ours)."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    options = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}
    found = axe.Axe().run(page, context="main, .glacier-page", options=options)
    return [f"{one['id']}: {node['html'][:160]}" for one in found.response["violations"] for node in one["nodes"]]


# The tests tell one story, from top to bottom.


def test_a_new_installation_says_that_nothing_is_safe_yet(page: Page, site: Site, problems: list[str]) -> None:
    page.goto(site.url)
    page.get_by_role("link", name=re.compile("Glacier")).click()
    expect(page.get_by_role("heading", name="Glacier backups")).to_be_visible()
    expect(card_of(page).get_by_text("The first backup creates the catalog")).to_be_visible()
    assert problems == []


def test_a_backup_is_started_and_watched_without_reloading(page: Page, site: Site, problems: list[str]) -> None:
    page.goto(site.url + PAGE)
    page.evaluate("globalThis.notReloaded = true")
    card_of(page).get_by_role("button", name="Back up now").click()
    dialog = page.get_by_role("alertdialog")
    expect(dialog).to_contain_text("glacier_backup__dms is paused")
    dialog.get_by_role("button", name="Unpause and back up").click()
    expect(page.get_by_text(re.compile("The backup you started (was asked for|is queued|has begun)"))).to_be_visible()
    expect(page.get_by_text("The backup you started is complete")).to_be_visible(timeout=LONG)
    expect(page.get_by_role("link", name="#1", exact=True)).to_be_visible()
    assert page.evaluate("globalThis.notReloaded") is True
    assert problems == []


def test_the_overview_tells_figures_and_puts_what_is_wrong_first(page: Page, site: Site, shots: Path) -> None:
    site.remember_a_year()
    page.goto(site.url + PAGE)
    card = card_of(page)
    expect(card.get_by_text("40", exact=True)).to_be_visible()
    expect(card_of(page, "shop").get_by_text("failing")).to_be_visible()
    expect(card_of(page, "shop").get_by_text("the disk of /srv/staging is full")).to_be_visible()
    expect(card_of(page, "wiki").get_by_text("fresh")).to_be_visible()
    names = page.get_by_role("heading", level=2).all_inner_texts()
    assert names == ["shop", "dms", "wiki"]
    expect(card.get_by_role("img", name="Days of the last year: 1 complete")).to_be_visible()
    shot(page, shots / "overview.png")


def test_the_table_shows_each_backup_and_sorts(page: Page, site: Site, shots: Path) -> None:
    (site.files / "in" / "document 41.pdf").write_bytes(b"%PDF new")
    (site.files / "in" / "document 1.pdf").unlink()
    page.goto(f"{site.url}{PAGE}/dms")
    page.get_by_role("button", name="Back up now").click()
    expect(page.get_by_role("row").filter(has_text="#2").filter(has_text="complete")).to_be_visible(timeout=LONG)
    page.get_by_role("button", name=re.compile("^Backup")).click()
    expect(page).to_have_url(re.compile("order=asc"))
    expect(page.get_by_role("row").nth(1)).to_contain_text("#1")
    shot(page, shots / "table.png")


def test_a_backup_shows_its_files_changes_and_report(page: Page, site: Site) -> None:
    page.goto(f"{site.url}{PAGE}/dms/backups/2")
    page.get_by_label("Part of a file's name").fill("document 41")
    expect(page.get_by_role("cell", name="in/document 41.pdf")).to_be_visible()
    expect(page.get_by_role("cell", name="in/document 40.pdf")).to_have_count(0)
    page.get_by_role("tab", name="Changes").click()
    expect(page.get_by_role("cell", name="in/document 41.pdf")).to_be_visible()
    page.get_by_label("Since backup 1").select_option("went")
    expect(page.get_by_role("cell", name="in/document 1.pdf")).to_be_visible()
    page.get_by_role("tab", name="Report").click()
    expect(page.get_by_text("in/document 1.pdf")).to_be_visible()
    page.get_by_role("tab", name="Dump and manifest").click()
    expect(page.get_by_text(re.compile("^sha256")).first).to_be_visible()


def test_a_file_is_found_in_all_backups(page: Page, site: Site) -> None:
    page.goto(f"{site.url}{PAGE}/dms?tab=files")
    page.get_by_label("Part of a file's name").fill("document 1.pdf")
    row = page.get_by_role("row").filter(has_text="in/document 1.pdf")
    expect(row).to_contain_text("only #1")


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS.keys())
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_page_is_accessible(page: Page, site: Site, path: str, theme: str) -> None:
    page.evaluate("theme => localStorage.setItem('theme', theme)", theme)
    page.goto(f"{site.url}{PAGE}{path}")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(500)
    faults = accessibility_faults(page)
    page.evaluate("localStorage.setItem('theme', 'light')")
    assert faults == []


def test_a_restore_is_planned_and_started_by_two_clicks(page: Page, site: Site, shots: Path) -> None:
    page.goto(f"{site.url}{PAGE}/dms?order=asc")
    page.get_by_role("row").filter(has_text="#1").get_by_role("link", name="Restore").click()
    expect(page.get_by_text("Archives to retrieve from the cold")).to_be_visible()
    expect(page.get_by_text(re.compile(r"^2 \("))).to_be_visible()  # the dump, and the file that is gone
    shot(page, shots / "restore-plan.png")
    page.get_by_role("button", name="Start the restore").click()
    expect(page).to_have_url(re.compile("/dags/glacier_restore__dms/runs/manual"))
    expect(page.get_by_test_id("rf__node-close_restore").or_(page.get_by_text("close_restore")).first).to_be_visible()
    shot(page, shots / "restore-run.png")
    page.goto(f"{page.url.partition('?')[0]}/plugin/glacier-run")
    expect(page.get_by_text("Restore 1 of backup 1").first).to_be_visible(timeout=LONG)
    expect(page.get_by_text("complete", exact=True).first).to_be_visible(timeout=LONG)
    assert (site.files / "in" / "document 1.pdf").exists()
    assert not (site.files / "in" / "document 41.pdf").exists()


def test_orphans_are_moved_back(page: Page, site: Site) -> None:
    page.goto(f"{site.url}{PAGE}/dms?tab=restores")
    page.get_by_role("button", name=re.compile("^Undo 1")).click()
    page.get_by_role("alertdialog").get_by_role("button", name="Move them back").click()
    expect(page.get_by_text("1 file moved back.")).to_be_visible()
    assert (site.files / "in" / "document 41.pdf").read_bytes() == b"%PDF new"


def test_the_page_is_usable_at_380_pixels(playwright: Playwright, site: Site, shots: Path) -> None:
    with a_browser(playwright, width=380) as browser:
        page = logged_in(browser, site)
        for name, path in {
            "overview": "",
            "table": "/dms",
            "backup": "/dms/backups/1",
            "plan": "/dms/backups/1/restore",
        }.items():
            page.goto(f"{site.url}{PAGE}{path}")
            expect(page.get_by_role("heading", level=1)).to_be_visible()
            page.wait_for_load_state("networkidle")
            assert page.evaluate("document.documentElement.scrollWidth") <= 380, name
            shot(page, shots / f"narrow-{name}.png")


def test_the_dark_theme_is_followed(playwright: Playwright, site: Site, shots: Path) -> None:
    with a_browser(playwright, dark=True) as browser:
        page = logged_in(browser, site)
        page.evaluate("localStorage.setItem('theme', 'dark')")
        page.goto(site.url + PAGE)
        heading = page.get_by_role("heading", name="Glacier backups")
        expect(heading).to_be_visible()
        lightness = heading.evaluate("one => getComputedStyle(one).color.match(/[\\d.]+/g).map(Number)")
        assert min(lightness[:3]) > 150 or lightness[0] > 0.8, lightness
        shot(page, shots / "overview-dark.png")


def test_a_viewer_sees_and_cannot_act(playwright: Playwright, site: Site) -> None:
    with a_browser(playwright) as browser:
        page = logged_in(browser, site, VIEWER)
        page.goto(f"{site.url}{PAGE}/dms")
        expect(page.get_by_role("row").filter(has_text="#1")).to_be_visible()
        expect(page.get_by_role("button", name="Back up now")).to_be_disabled()
        expect(page.get_by_role("link", name=re.compile("^Restore"))).to_have_count(0)
        page.goto(f"{site.url}{PAGE}/dms/backups/1/restore")
        expect(page.get_by_role("button", name="Start the restore")).to_be_disabled()


@pytest.mark.parametrize(("user", "expected"), [(None, 401), (VIEWER, 403), (USER, 404)])
def test_airflow_decides_who_may_undo(site: Site, user: str | None, expected: int) -> None:
    headers = {"Authorization": f"Bearer {site.token(user)}"} if user else {}
    address = f"{site.url}/glacier/api/applications/dms/restores/999/undo-orphans"
    answer = httpx.post(address, json={"confirm": True}, headers=headers, timeout=120, trust_env=False)
    assert answer.status_code == expected


@pytest.mark.parametrize("path", ["overview", "applications/dms/backups", "openapi.json"])
@pytest.mark.parametrize(("user", "expected"), [(None, 401), (VIEWER, 200)])
def test_airflow_decides_who_may_read(site: Site, path: str, user: str | None, expected: int) -> None:
    headers = {"Authorization": f"Bearer {site.token(user)}"} if user else {}
    answer = httpx.get(f"{site.url}/glacier/api/{path}", headers=headers, timeout=120, trust_env=False)
    assert answer.status_code == expected


def test_a_form_of_another_site_does_nothing(page: Page, site: Site) -> None:
    """Same host, other port: the login cookie comes along, and the request is refused."""
    address = f"{site.url}/glacier/api/applications/dms/restores/1/undo-orphans"
    field = """<input name='{"confirm":true,"x":"' value='"}'>"""
    form = f'<form method=post enctype=text/plain action="{address}">{field}</form>'
    other = page.context.new_page()
    other.route("http://127.0.0.1:9/**", lambda route: route.fulfill(body=form, content_type="text/html"))
    other.goto("http://127.0.0.1:9/evil")
    with other.expect_response(address) as answered:
        other.evaluate("document.forms[0].submit()")
    assert answered.value.status == 403
    assert "_token" in (answered.value.request.all_headers().get("cookie") or "")
    other.close()


def test_without_its_catalog_the_page_says_so_and_airflow_goes_on(page: Page, site: Site, problems: list[str]) -> None:
    with site.without_catalog():
        page.goto(site.url + PAGE)
        expect(page.get_by_role("alert").first).to_contain_text("catalog")
        page.goto(f"{site.url}{PAGE}/dms/backups/1")
        expect(page.get_by_role("alert").first).to_contain_text("catalog")
        page.goto(f"{site.url}/dags")
        expect(page.get_by_text("Backup of dms").first).to_be_visible()
    page.goto(site.url + PAGE)
    expect(page.get_by_role("link", name="#2", exact=True)).to_be_visible()
    assert problems == []
