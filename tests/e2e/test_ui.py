"""The page in a real Airflow, used by a person in a real browser.

The tests tell one story from top to bottom, on one Airflow. The backups and restores that a test needs are made when it
is run by itself. With SCREENSHOTS=directory the pictures are kept there, otherwise in pytest's temporary directory; a
failed test leaves one as well.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

pytest.importorskip("playwright.sync_api", reason="the browser tests need playwright")

from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from demo.airflow import USER
from tests.e2e.ui_site import (
    PAGE,
    VIEWER,
    Site,
    a_chromium,
    a_page,
    a_site,
    another_site,
    chromium,
    log_in,
    settle,
    shoot,
)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(chromium() is None, reason="no Chromium is installed (Debian: apt-get install chromium)"),
]
PATHS = {
    "overview": "",
    "table": "/dms",
    "find": "/dms?tab=files&file=document",
    "restores": "/dms?tab=restores",
    "backup": "/dms/backups/1",
    "tasks": "/dms/backups/2?tab=tasks",
    "proofs": "/dms/backups/1?tab=proofs",
    "plan": "/dms/backups/1/restore",
}
LONG = 300_000
expect.set_options(timeout=60_000)  # a busy machine is slow, not wrong


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("site")
    directory.chmod(0o755)
    with a_site(directory) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright, a_chromium(playwright) as running:
        yield running


@pytest.fixture(scope="module")
def shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = Path(os.environ.get("SCREENSHOTS") or tmp_path_factory.mktemp("screenshots"))
    directory.mkdir(parents=True, exist_ok=True)
    return directory


@pytest.fixture(scope="module")
def page(browser: Browser, site: Site) -> Page:
    """The administrator's browser, open during all tests."""
    return log_in(a_page(browser), site)


@pytest.fixture(scope="module")
def narrow(browser: Browser, site: Site) -> Page:
    return log_in(a_page(browser, width=380), site)


@pytest.fixture(scope="module")
def dark(browser: Browser, site: Site) -> Page:
    return log_in(a_page(browser, dark=True), site)


@pytest.fixture(scope="module")
def viewer(browser: Browser, site: Site) -> Page:
    """The browser of somebody who may see and not act."""
    return log_in(a_page(browser), site, VIEWER)


@pytest.fixture
def one_backup(site: Site) -> None:
    """At least backup 1 is there, and with it the catalog."""
    if site.backups_of("dms") == 0:
        site.back_up()


@pytest.fixture
def two_backups(site: Site, one_backup: None) -> None:
    """Backup 2 as well, of other files."""
    if site.backups_of("dms") == 1:
        other_files(site)
        site.back_up()


@pytest.fixture
def a_restore(site: Site, two_backups: None) -> str:
    """The run that restores backup 1: begun by the test before or, without it, here."""
    if not site.runs_of_restores():
        site.restore(1)
    return site.runs_of_restores()[0]


@pytest.fixture
def restored(site: Site, a_restore: str) -> None:
    """It is complete: the file that backup 1 does not have lies aside."""
    site.wait_for_restores()


@pytest.fixture
def a_year(site: Site, one_backup: None) -> None:
    """The other two applications have a history."""
    if site.backups_of("wiki") == 0:
        site.remember_a_year()


def other_files(site: Site) -> None:
    """One file comes and one goes."""
    site.file(41).write_bytes(b"%PDF new")
    site.remove_files([1])


@pytest.fixture(autouse=True)
def _evidence(request: pytest.FixtureRequest, shots: Path) -> Iterator[None]:
    """Keep what the pages showed when a test failed."""
    before = request.session.testsfailed
    yield
    if request.session.testsfailed > before:
        for name in {"page", "narrow", "dark", "viewer"} & set(request.fixturenames):
            request.getfixturevalue(name).screenshot(path=str(shots / f"failed-{request.node.name}-{name}.png"))


@pytest.fixture
def problems(page: Page) -> Iterator[list[str]]:
    """What the page's own scripts fail with."""
    found: list[str] = []

    def note(error: Any) -> None:
        found.append(str(error))

    page.on("pageerror", note)
    yield found
    page.remove_listener("pageerror", note)


def card_of(page: Page, application: str = "dms") -> Locator:
    return page.get_by_role("region", name=application, exact=True)


def fact(within: Page | Locator, name: str) -> Locator:
    """Return the figure that stands under a name."""
    return within.locator("dt", has_text=re.compile(f"^{re.escape(name)}$")).locator("xpath=following-sibling::dd")


def accessibility_faults(page: Page) -> list[str]:
    """Return what axe finds wrong inside our page (Airflow's frame around it is not ours)."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    options = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}
    found = axe.Axe().run(page, context="main, .glacier-page, [role=alertdialog]", options=options)
    return [f"{one['id']}: {node['html'][:160]}" for one in found.response["violations"] for node in one["nodes"]]


def tab_to(page: Page, wanted: Locator, limit: int = 90) -> None:
    """Press Tab until an element has the focus; that it has must be seen."""
    expect(wanted).to_be_visible()
    for _ in range(limit):
        page.keyboard.press("Tab")
        if wanted.evaluate("one => one === document.activeElement"):
            assert wanted.evaluate(SHOWS_FOCUS), f"nothing shows that {wanted} has the focus"
            return
    raise AssertionError(f"{wanted} is not reached by {limit} times Tab")


SHOWS_FOCUS = """one => {
    const looks = getComputedStyle(one);
    return (looks.outlineStyle !== 'none' && parseFloat(looks.outlineWidth) > 0) || looks.boxShadow !== 'none';
}"""


def watch(page: Page) -> None:
    """Remember what the page tells of work under way, from now on."""
    page.evaluate(
        """() => {
            globalThis.told = [];
            const look = () => document.querySelectorAll('[aria-label="Under way"]').forEach(
                one => globalThis.told.at(-1) === one.innerText || globalThis.told.push(one.innerText));
            new MutationObserver(look).observe(document.body, {childList: true, subtree: true, characterData: true});
        }"""
    )


def told(page: Page) -> str:
    return "\n".join(page.evaluate("globalThis.told"))


# --- a backup ------------------------------------------------------------------------------------------------------


def test_a_new_installation_says_that_nothing_is_safe_yet(page: Page, site: Site, problems: list[str]) -> None:
    page.goto(site.url)
    page.get_by_role("link", name=re.compile("[Bb]ackups")).click()
    expect(page.get_by_role("heading", name="Glacier backups")).to_be_visible()
    expect(card_of(page).get_by_text("The first backup creates the catalog")).to_be_visible()
    assert problems == []


def test_a_backup_is_started_and_watched_without_reloading(page: Page, site: Site, problems: list[str]) -> None:
    page.goto(site.url + PAGE)
    page.evaluate("globalThis.notReloaded = true")
    watch(page)
    site.hold_an_upload(20)  # the page looks every some seconds, less often on a busy machine
    card_of(page).get_by_role("button", name="Back up now").click()
    dialog = page.get_by_role("alertdialog")
    expect(dialog).to_contain_text("glacier_backup__dms is paused")
    dialog.get_by_role("button", name="Unpause and back up").click()
    expect(page.get_by_text(re.compile("The backup you started (was asked for|is queued|has begun)"))).to_be_visible()
    expect(page.get_by_text("The backup you started is complete")).to_be_visible(timeout=LONG)
    expect(page.get_by_role("link", name="#1", exact=True)).to_be_visible()
    assert re.search(r"Backup 1: .*\n[\s\S]*\d+ of \d+ archives", told(page)), told(page)
    assert page.evaluate("globalThis.notReloaded") is True
    assert problems == []


@pytest.mark.usefixtures("a_year")
def test_the_overview_tells_figures_and_puts_what_is_wrong_first(page: Page, site: Site, shots: Path) -> None:
    page.goto(site.url + PAGE)
    card = card_of(page)
    expect(fact(card, "Files")).to_have_text("40")
    expect(fact(card, "Protected")).to_have_text(re.compile(r"80\d\.\d kB"))  # 40 files of 20 kB, and a small dump
    expect(fact(card, "Storage a month")).to_have_text("< $0.01")
    expect(card_of(page, "shop").get_by_text("failing")).to_be_visible()
    expect(card_of(page, "shop").get_by_text("the disk of /srv/staging is full")).to_be_visible()
    expect(card_of(page, "wiki").get_by_text("paused").first).to_be_visible()
    names = page.get_by_role("heading", level=2).all_inner_texts()
    assert names == ["shop", "wiki", "dms"]
    expect(card.get_by_role("img", name="Days of the last year: 1 complete")).to_be_visible()
    shoot(page, shots / "overview.png")


@pytest.mark.usefixtures("one_backup")
def test_a_backup_is_started_with_the_keyboard_and_the_table_sorts(page: Page, site: Site, shots: Path) -> None:
    other_files(site)
    page.goto(f"{site.url}{PAGE}/dms")
    tab_to(page, page.get_by_role("button", name="Back up now"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("row").filter(has_text="#2").filter(has_text="complete")).to_be_visible(timeout=LONG)
    tab_to(page, page.get_by_role("button", name="Backup", exact=True))
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("order=asc"))
    expect(page.get_by_role("row").nth(1)).to_contain_text("#1")
    shoot(page, shots / "table.png")


@pytest.mark.usefixtures("a_year")
def test_the_table_filters_and_goes_from_page_to_page(page: Page, site: Site) -> None:
    page.goto(f"{site.url}{PAGE}/wiki")
    pages = page.get_by_role("navigation", name="Pages")
    expect(pages).to_contain_text(re.compile(r"1–25 of 39\d"))
    pages.get_by_role("button", name="Next").click()
    expect(pages).to_contain_text(re.compile(r"26–50 of 39\d"))
    page.get_by_label("State").select_option("failed")
    expect(page.get_by_role("row").filter(has_text="complete")).to_have_count(0)
    expect(page.get_by_role("row").filter(has_text="failed")).to_have_count(5)


# --- what a backup holds -------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("two_backups")
def test_a_backup_shows_its_files_changes_report_and_logs(page: Page, site: Site) -> None:
    page.goto(f"{site.url}{PAGE}/dms/backups/2")
    page.get_by_label("Part of a file's name").fill("document 41")
    row = page.get_by_role("row").filter(has_text="in/document 41.pdf")
    expect(row).to_contain_text("sha256:")
    expect(page.get_by_role("cell", name="in/document 40.pdf")).to_have_count(0)
    page.get_by_role("tab", name="Changes").click()
    expect(page.get_by_role("cell", name="in/document 41.pdf")).to_be_visible()
    page.get_by_label("Since backup 1").select_option("went")
    expect(page.get_by_role("cell", name="in/document 1.pdf")).to_be_visible()
    page.get_by_role("tab", name="Report").click()
    expect(page.get_by_text("in/document 1.pdf")).to_be_visible()
    page.get_by_role("tab", name="Dump and manifest").click()
    expect(page.get_by_text(re.compile("^sha256")).first).to_be_visible()
    page.get_by_role("tab", name="Tasks and logs").click()
    page.get_by_role("link", name="scan_files").click()
    expect(page).to_have_url(re.compile("/dags/glacier_backup__dms/runs/.*/tasks/scan_files"))


@pytest.mark.usefixtures("two_backups")
def test_a_file_is_found_in_all_backups(page: Page, site: Site) -> None:
    page.goto(f"{site.url}{PAGE}/dms?tab=files")
    page.get_by_label("Part of a file's name").fill("document 1.pdf")
    row = page.get_by_role("row").filter(has_text="in/document 1.pdf")
    expect(row).to_contain_text("only #1")
    page.get_by_label("Part of a file's name").fill("no such file")
    expect(page.get_by_text("No archived file has this in its name.")).to_be_visible()


# --- for everybody -------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("two_backups")
@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS.keys())
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_page_is_accessible(request: pytest.FixtureRequest, site: Site, path: str, theme: str) -> None:
    page: Page = request.getfixturevalue("page" if theme == "light" else "dark")
    page.goto(f"{site.url}{PAGE}{path}")
    settle(page)
    assert accessibility_faults(page) == []


@pytest.mark.usefixtures("two_backups")
def test_the_page_is_usable_at_380_pixels(narrow: Page, site: Site, shots: Path) -> None:
    for name, path in PATHS.items():
        narrow.goto(f"{site.url}{PAGE}{path}")
        shoot(narrow, shots / f"narrow-{name}.png")
        assert narrow.evaluate("document.documentElement.scrollWidth") <= 380, name
    narrow.get_by_role("button", name="Start the restore").scroll_into_view_if_needed()
    expect(narrow.get_by_role("button", name="Start the restore")).to_be_in_viewport()


@pytest.mark.usefixtures("a_year")
def test_the_backups_fit_into_1280_pixels(page: Page, site: Site, shots: Path) -> None:
    """Of an application with a year behind it, and a drill; nothing has to be scrolled for, at wider ones neither."""
    size = page.viewport_size
    for width in (1280, 1400, 1600):
        page.set_viewport_size({"width": width, "height": 900})
        page.goto(f"{site.url}{PAGE}/wiki")
        table = page.get_by_role("region", name="Backups", exact=True)
        expect(table.get_by_role("link", name="Restore backup").first).to_be_in_viewport(ratio=1)
        shoot(page, shots / f"table-{width}.png")
        assert table.evaluate("one => one.scrollWidth - one.clientWidth") <= 0, width
    if size is not None:
        page.set_viewport_size(size)


@pytest.mark.usefixtures("two_backups")
def test_the_dark_theme_is_followed(dark: Page, site: Site, shots: Path) -> None:
    dark.goto(site.url + PAGE)
    heading = dark.get_by_role("heading", name="Glacier backups")
    expect(heading).to_be_visible()
    lightness = heading.evaluate("one => getComputedStyle(one).color.match(/[\\d.]+/g).map(Number)")
    assert min(lightness[:3]) > 150 or lightness[0] > 0.8, lightness
    shoot(dark, shots / "overview-dark.png")


# --- restores ------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("two_backups")
def test_a_restore_is_planned_and_started_by_two_clicks(page: Page, site: Site, shots: Path) -> None:
    page.goto(f"{site.url}{PAGE}/dms?order=asc")
    with site.looked_at_as_in_life():
        page.get_by_role("row").filter(has_text="#1").get_by_role("link", name="Restore").click()
        expect(fact(page, "Archives to retrieve from the cold")).to_have_text(re.compile(r"^2 \("))  # dump, and a file
        expect(fact(page, "Typically readable")).to_have_text("after 3–5 h")
        expect(fact(page, "Estimated cost")).to_have_text("< $0.01")
        page.get_by_label("Keep retrieved copies for").select_option("14 days")
        expect(fact(page, "Retrieved copies are kept")).to_have_text("14 days")
    expect(page.get_by_role("group", name="Retrieval tier")).to_contain_text(
        re.compile(r"Expedited\s*1–5 min\s*\$0\.0\d")
    )
    expect(page.get_by_text(re.compile("prices of .* as of 20"))).to_be_visible()
    shoot(page, shots / "restore-plan.png")
    with page.expect_request(lambda request: request.method == "POST" and "dagRuns" in request.url) as triggered:
        page.get_by_role("button", name="Start the restore").click()
    assert triggered.value.post_data_json["conf"]["days"] == 14
    expect(page).to_have_url(re.compile("/dags/glacier_restore__dms/runs/manual"))
    expect(page.get_by_test_id("rf__node-close_restore").or_(page.get_by_text("close_restore")).first).to_be_visible()


def test_the_tab_on_its_run_follows_a_restore_to_its_end(page: Page, site: Site, shots: Path, a_restore: str) -> None:
    page.goto(f"{site.url}/dags/glacier_restore__dms/runs/{a_restore}/plugin/glacier-run")
    watch(page)
    expect(page.get_by_text("Restore 1 of backup 1").first).to_be_visible(timeout=LONG)
    expect(page.get_by_text("complete", exact=True).first).to_be_visible(timeout=LONG)
    assert site.file(1).exists()
    assert not site.file(41).exists()
    page.screenshot(path=str(shots / "restore-run.png"))


@pytest.mark.usefixtures("restored")
def test_a_dialog_keeps_the_keyboard_until_it_is_left(page: Page, site: Site) -> None:
    page.goto(f"{site.url}{PAGE}/dms")
    tab_to(page, page.get_by_role("tab", name="Backups"))
    for name in ("Find a file", "Restores"):
        page.keyboard.press("ArrowRight")
        expect(page.get_by_role("tab", name=name, selected=True)).to_be_focused()
    undo = page.get_by_role("button", name=re.compile("^Undo 1"))
    tab_to(page, undo)
    page.keyboard.press("Enter")
    dialog = page.get_by_role("alertdialog")
    expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
    for _ in range(5):
        page.keyboard.press("Tab")
        assert dialog.evaluate("one => one.contains(document.activeElement)")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(undo).to_be_focused()
    assert not site.file(41).exists()


@pytest.mark.usefixtures("restored")
def test_orphans_are_moved_back(page: Page, site: Site) -> None:
    page.goto(f"{site.url}{PAGE}/dms?tab=restores")
    page.get_by_role("button", name=re.compile("^Undo 1")).press("Enter")
    tab_to(page, page.get_by_role("alertdialog").get_by_role("button", name="Move them back"))
    page.keyboard.press("Enter")
    expect(page.get_by_text("The undoing you started is complete")).to_be_visible(timeout=LONG)
    assert site.file(41).read_bytes() == b"%PDF new"


@pytest.mark.usefixtures("restored")
def test_the_database_that_a_restore_replaced_is_brought_back_by_a_click(
    page: Page, viewer: Page, site: Site, shots: Path
) -> None:
    viewer.goto(f"{site.url}{PAGE}/dms?tab=restores")
    expect(viewer.get_by_role("row").nth(1)).to_be_visible()
    expect(viewer.get_by_role("button", name="Bring back")).to_have_count(0)
    page.goto(f"{site.url}{PAGE}/dms?tab=restores")
    page.get_by_role("button", name="Bring back").last.click()
    dialog = page.get_by_role("alertdialog")
    expect(dialog).to_contain_text("as it was")
    page.screenshot(path=str(shots / "bring-back.png"))
    dialog.get_by_role("button", name="Bring it back").click()
    expect(page.get_by_text("The undoing you started is complete")).to_be_visible(timeout=LONG)


@pytest.mark.usefixtures("two_backups")
def test_a_restore_is_started_with_the_keyboard(page: Page, site: Site) -> None:
    page.goto(f"{site.url}{PAGE}/dms/backups/2")
    tab_to(page, page.get_by_role("link", name="Restore …"))
    page.keyboard.press("Enter")
    tab_to(page, page.get_by_label("Database and files"))
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    expect(page.get_by_label("Missing files alone")).to_be_checked()
    expect(fact(page, "Database dump")).to_have_count(0)
    start = page.get_by_role("button", name="Start the restore")
    expect(start).to_be_enabled()
    tab_to(page, start)
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/dags/glacier_restore__dms/runs/manual"))
    page.goto(f"{page.url.partition('?')[0]}/plugin/glacier-run")
    expect(page.get_by_text(re.compile(r"Restore \d of backup 2")).first).to_be_visible(timeout=LONG)
    expect(page.get_by_text("complete", exact=True).first).to_be_visible(timeout=LONG)


# --- elsewhere -----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("one_backup")
def test_one_file_is_fetched_into_a_directory(page: Page, site: Site) -> None:
    page.goto(f"{site.url}{PAGE}/dms/backups/1")
    page.get_by_role("button", name="Fetch in/document 2.pdf").click()
    dialog = page.get_by_role("alertdialog")
    fetch = dialog.get_by_role("button", name="Fetch it")
    expect(fetch).to_be_disabled()
    dialog.get_by_label("Into this directory of the worker").fill(str(site.files.parent / "fetched"))
    dialog.get_by_text("Show me the plan before anything is asked for").click()
    fetch.click()
    expect(page).to_have_url(re.compile("/dags/glacier_restore__dms/runs/manual"))
    fetched = site.files.parent / "fetched" / "in" / "document 2.pdf"
    site.wait_for(fetched.exists)
    site.wait_for_restores()
    assert fetched.read_bytes() == b"%PDF" + bytes([2]) * 20_000
    assert [path.name for path in (site.files.parent / "fetched").rglob("*.pdf")] == ["document 2.pdf"]


@pytest.mark.usefixtures("one_backup")
def test_a_backup_is_restored_elsewhere_from_the_page(page: Page, site: Site) -> None:
    page.goto(f"{site.url}{PAGE}/dms/backups/1/restore")
    page.get_by_text("copy: the application stays as it is").click()
    expect(page.get_by_text("Nothing of dms is touched.")).to_be_visible()
    page.get_by_text("Missing files alone").click()
    expect(fact(page, "Into")).to_contain_text("copy")
    page.get_by_role("button", name="Start the restore").click()
    expect(page).to_have_url(re.compile("/dags/glacier_restore__dms/runs/manual"))
    copy = site.files.parent / "copy" / "in"
    site.wait_for(lambda: len(list(copy.glob("*.pdf"))) == 40)
    site.wait_for_restores()
    assert (copy / "document 3.pdf").read_bytes() == b"%PDF" + bytes([3]) * 20_000


@pytest.mark.usefixtures("one_backup")
def test_a_backup_and_the_card_say_that_nothing_was_proven(page: Page, site: Site) -> None:
    page.goto(f"{site.url}{PAGE}/dms/backups/1?tab=proofs")
    expect(page.get_by_text("Never proven: no drill has restored this backup")).to_be_visible()
    page.goto(site.url + PAGE)
    expect(card_of(page).get_by_text("Never proven: neither drill nor verify is set up.")).to_be_visible()


# --- deletion ------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("restored")
def test_a_deletion_has_to_be_typed(page: Page, site: Site, shots: Path) -> None:
    page.goto(f"{site.url}{PAGE}/dms/backups/1")
    tab_to(page, page.get_by_role("button", name="Delete …"))
    page.keyboard.press("Enter")
    dialog = page.get_by_role("alertdialog")
    expect(fact(dialog, "Early-deletion fee")).to_have_text(re.compile(r"\$0\.0\d"))
    expect(fact(dialog, "Stays")).to_have_text(re.compile("^40 archives"))
    expect(dialog.get_by_role("textbox")).to_be_focused()
    page.keyboard.type("dms-2")
    expect(dialog.get_by_role("button", name="Delete for good")).to_be_disabled()
    page.keyboard.press("Enter")
    expect(dialog).to_be_visible()
    assert accessibility_faults(page) == []
    page.screenshot(path=str(shots / "deletion.png"))
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(page.get_by_role("button", name="Delete …")).to_be_focused()


@pytest.mark.usefixtures("restored")
def test_what_was_typed_is_deleted(page: Page, site: Site, problems: list[str]) -> None:
    page.goto(f"{site.url}{PAGE}/dms/backups/1")
    page.get_by_role("button", name="Delete …").press("Enter")
    dialog = page.get_by_role("alertdialog")
    expect(dialog.get_by_role("textbox")).to_be_focused()
    page.keyboard.type(dialog.locator("label strong").inner_text())
    page.keyboard.press("Enter")
    expect(page.get_by_text("The deletion you started is complete")).to_be_visible(timeout=LONG)
    expect(page.get_by_role("heading", level=1).locator("xpath=..")).to_contain_text("deleted")
    expect(page.get_by_role("link", name="Restore …")).to_have_count(0)
    assert problems == []


# --- who may what --------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("two_backups")
def test_a_viewer_sees_and_cannot_act(viewer: Page, site: Site) -> None:
    viewer.goto(f"{site.url}{PAGE}/dms")
    expect(viewer.get_by_role("row").filter(has_text="#2")).to_be_visible()
    expect(viewer.get_by_role("button", name="Back up now")).to_be_disabled()
    expect(viewer.get_by_role("link", name=re.compile("^Restore"))).to_have_count(0)
    viewer.goto(f"{site.url}{PAGE}/dms/backups/2")
    expect(viewer.get_by_role("link", name="DAG run")).to_be_visible()
    expect(viewer.get_by_role("button", name="Delete …")).to_have_count(0)
    viewer.goto(f"{site.url}{PAGE}/dms/backups/2/restore")
    expect(viewer.get_by_role("button", name="Start the restore")).to_be_disabled()


@pytest.mark.usefixtures("one_backup")
def test_what_is_wrong_is_looked_for_by_a_worker_and_shown_with_its_mend(
    page: Page, viewer: Page, site: Site, problems: list[str], shots: Path
) -> None:
    viewer.goto(f"{site.url}{PAGE}/dms")
    expect(viewer.get_by_role("button", name="Back up now")).to_be_visible()
    expect(viewer.get_by_role("button", name="Examine …")).to_have_count(0)
    page.goto(f"{site.url}{PAGE}/dms")
    page.get_by_role("button", name="Examine …").click()
    expect(page.get_by_role("heading", name="Examination of dms")).to_be_visible()
    expect(page.get_by_text("no lifecycle rule aborts incomplete uploads")).to_be_visible(timeout=120_000)
    expect(page.get_by_text("AbortIncompleteMultipartUpload")).to_be_visible()
    expect(page.get_by_text(re.compile("^Well: .*permission s3:PutObject"))).to_be_visible()
    expect(page.get_by_text("A worker looks")).to_have_count(0)
    page.screenshot(path=str(shots / "examination.png"))
    assert accessibility_faults(page) == []
    page.get_by_role("button", name="Dismiss").click()
    expect(page.get_by_role("heading", name="Examination of dms")).to_have_count(0)
    assert problems == []


@pytest.mark.usefixtures("two_backups")
def test_the_lease_of_a_deleted_run_is_freed_on_the_page(
    page: Page, viewer: Page, site: Site, problems: list[str]
) -> None:
    dead = site.leave_a_dead_backup()
    for one in (viewer, page):
        one.goto(f"{site.url}{PAGE}/dms")
        strip = one.get_by_role("group", name="Under way")
        expect(strip).to_contain_text("Its run is over")
        expect(strip.locator(".chakra-spinner")).to_have_count(0)
    button = re.compile("^Free the lease")
    expect(viewer.get_by_role("button", name=button)).to_have_count(0)
    page.get_by_role("button", name=button).click()
    dialog = page.get_by_role("alertdialog")
    expect(dialog).to_contain_text(f"backup {dead} holds it. Its run is deleted in Airflow, and over (deleted).")
    dialog.get_by_role("button", name="Free it").click()
    expect(page.get_by_text("The lease is free.")).to_be_visible()
    expect(page.get_by_role("group", name="Under way")).to_have_count(0)
    expect(page.get_by_role("row").filter(has_text=f"#{dead}")).to_contain_text("failed")
    assert problems == []


ACTIONS = {
    "free-lease": ({}, 200),
    "examination": ({}, 201),
    "restores/999/undo-orphans": ({"confirm": True}, 404),
    "restores/999/undo-database": ({"confirm": True}, 404),
    "backups/2/delete": ({"confirm": "something else"}, 409),
}


@pytest.mark.usefixtures("two_backups")
@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("user", [None, VIEWER, USER])
def test_airflow_decides_who_may_act(site: Site, action: str, user: str | None) -> None:
    body, of_who_may = ACTIONS[action]
    address = f"{site.url}/glacier/api/applications/dms/{action}"
    answer = httpx.post(address, json=body, headers=_as(site, user), timeout=120, trust_env=False)
    assert answer.status_code == {None: 401, VIEWER: 403, USER: of_who_may}[user]


@pytest.mark.usefixtures("two_backups")
@pytest.mark.parametrize("path", ["overview", "applications/dms/backups", "openapi.json"])
@pytest.mark.parametrize(("user", "expected"), [(None, 401), (VIEWER, 200)])
def test_airflow_decides_who_may_read(site: Site, path: str, user: str | None, expected: int) -> None:
    address = f"{site.url}/glacier/api/{path}"
    answer = httpx.get(address, headers=_as(site, user), timeout=120, trust_env=False)
    assert answer.status_code == expected


def _as(site: Site, user: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {site.token(user)}"} if user else {}


def test_a_form_of_another_site_does_nothing(page: Page, site: Site) -> None:
    """Same host, other port: the login cookie comes along, which reading shows; what would act is refused."""
    reads = f"{site.url}/glacier/api/overview"
    acts = f"{site.url}/glacier/api/applications/dms/restores/1/undo-orphans"
    field = """<input name='{"confirm":true,"x":"' value='"}'>"""
    forms = (
        f'<form method="get" action="{reads}"><button>Read</button></form>'
        f'<form method="post" enctype="text/plain" action="{acts}">{field}<button>Act</button></form>'
    )
    other = page.context.new_page()
    with another_site(forms) as address:
        for button, target, expected in (("Read", reads, 200), ("Act", acts, 403)):
            other.goto(address)
            with other.expect_response(lambda answer, to=target: answer.url.partition("?")[0] == to) as answered:
                other.get_by_role("button", name=button).click()
            assert answered.value.status == expected
    other.close()


# --- when things are missing ---------------------------------------------------------------------------------------


@pytest.mark.usefixtures("two_backups")
def test_without_its_catalog_the_page_says_so_and_airflow_goes_on(page: Page, site: Site, problems: list[str]) -> None:
    with site.without_catalog():
        for path in ("", "/dms/backups/2"):
            page.goto(site.url + PAGE + path)
            expect(page.get_by_role("alert").first).to_contain_text("catalog")
        page.goto(f"{site.url}/dags")
        expect(page.get_by_text("Backup of dms").first).to_be_visible()
    page.goto(site.url + PAGE)
    expect(page.get_by_role("link", name="#2", exact=True)).to_be_visible()
    assert problems == []
