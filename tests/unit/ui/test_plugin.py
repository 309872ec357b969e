"""The plugin as Airflow's processes meet it: light to import, and whole."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import glacier_provider
from glacier_provider.get_provider_info import get_provider_info
from glacier_provider.ui import plugin

STATIC = Path(plugin.__file__).parent / "static"
SCRIPTS = sorted(STATIC.glob("*.js"))


def test_importing_the_plugin_loads_no_server() -> None:
    """Schedulers and workers import it too; the app is made when the API server asks for it."""
    program = (
        "import sys, airflow.plugins_manager; before = set(sys.modules);"
        "from glacier_provider.ui.plugin import GlacierPlugin; GlacierPlugin();"
        "print(*sorted(set(sys.modules) - before))"
    )
    root = str(Path(glacier_provider.__file__).parents[1])
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=root)
    loaded = set(done.stdout.split()) | {"glacier_provider"}  # an editable installation loads it beforehand
    assert loaded == {"glacier_provider", "glacier_provider.ui", "glacier_provider.ui.plugin"}


def test_the_provider_names_the_plugin() -> None:
    (entry,) = get_provider_info()["plugins"]
    assert entry["plugin-class"] == f"{plugin.GlacierPlugin.__module__}.{plugin.GlacierPlugin.__name__}"


def test_every_react_app_is_registered_by_its_bundle() -> None:
    registered = set(re.findall(r'globalThis\["([^"]+)"\] =', (STATIC / "page.js").read_text()))
    assert {app["name"] for app in plugin.GlacierPlugin.react_apps} == registered


def test_what_airflow_loads_is_there() -> None:
    for app in plugin.GlacierPlugin.react_apps:
        assert (STATIC / Path(app["bundle_url"]).name).is_file()
        for key in ("icon", "icon_dark_mode"):
            # No slash in front: Airflow may live below a sub-path.
            assert app[key].startswith(f"{plugin.PREFIX.strip('/')}/static/")
            assert (STATIC / Path(app[key]).name).is_file()


@pytest.mark.parametrize(
    ("base_url", "bundle"),
    [
        ("http://localhost:8080", "/glacier/static/page.js"),
        ("https://example.com/", "/glacier/static/page.js"),
        ("https://example.com/af/", "/af/glacier/static/page.js"),
        ("", "/glacier/static/page.js"),
    ],
)
def test_the_bundle_has_an_address_from_the_root_below_airflows_own_path(base_url: str, bundle: str) -> None:
    """Airflow 3.2 imports it as it is written; 3.3 resolves it against its own address. Both find this one."""
    assert plugin.bundle_url(base_url) == bundle


def test_modules_import_only_what_exists() -> None:
    exported = {path.name: set(_exports(path.read_text())) for path in SCRIPTS}
    for path in SCRIPTS:
        for names, module in re.findall(r'^import \{([^}]*)\} from "\./([^"]+)";', path.read_text(), re.MULTILINE):
            wanted = {name.strip() for name in names.split(",") if name.strip()}
            assert wanted <= exported[module], f"{path.name} imports {wanted - exported[module]} from {module}"


def _exports(text: str) -> list[str]:
    listed = [
        name.strip() for names in re.findall(r"^export \{([^}]*)\};", text, re.MULTILINE) for name in names.split(",")
    ]
    return listed + re.findall(r"^export (?:async )?(?:function|const|class) (\w+)", text, re.MULTILINE)


def test_nothing_is_loaded_from_other_hosts_and_no_markup_is_built_from_text() -> None:
    for path in [*SCRIPTS, *STATIC.glob("*.svg")]:
        text = path.read_text().replace("http://www.w3.org/2000/svg", "")
        assert re.findall(r"https?://|dangerouslySetInnerHTML|innerHTML|\beval\(", text) == [], path.name


def test_the_words_of_the_page_are_those_of_the_catalog() -> None:
    from glacier_provider.core.status import RetrievalStatus
    from glacier_provider.ui.health import Health

    text = (STATIC / "status.js").read_text()
    statuses = re.search(r"STATUSES = \{(.*?)\};", text, re.DOTALL)
    healths = re.search(r"HEALTH = \{(.*?)\};", text, re.DOTALL)
    assert statuses
    assert healths
    assert re.findall(r"^  (\w+):", statuses[1], re.MULTILINE) == [status.value for status in RetrievalStatus]
    assert set(re.findall(r"^  (\w+):", healths[1], re.MULTILINE)) == {health.value for health in Health}
