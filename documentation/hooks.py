"""What MkDocs calls: made pages are put among those of docs/."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from documentation.pages import contents, pages, seen  # noqa: E402


def on_config(config: Any) -> Any:
    decisions = [path.name for path in Path(config["docs_dir"], "adr").glob("*.md")]
    config["nav"] = contents(pages(), decisions)
    return config


def on_files(files: Files, *, config: Any) -> Files:
    for path, text in pages().items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Links of the documents in docs/ to the top folder; those in docs/adr/ are another's README."""
    return markdown if page.file.src_uri.startswith("adr/") else seen(markdown)
