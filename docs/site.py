"""Hooks of the site: documents of the repository's root become pages, and links to other files lead to GitHub."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mkdocs.structure.files import File, Files

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.pages import Page

ROOT: Final = Path(__file__).parent.parent
PAGES: Final = {"README.md": "index.md", "CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}
"""Documents of the root, and the names of their pages."""
LINK: Final = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)#\s]+)")
"""The path of a link or picture to a file; URLs, and the anchors of a page, are left alone."""
log = logging.getLogger("mkdocs.hooks.site")


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the documents of the root."""
    for document, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / document).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Rewrite links as the repository has them to links between pages, or to GitHub."""
    source = page.file.src_uri
    of_root = {name: document for document, name in PAGES.items()}
    folder = ROOT if source in of_root else (ROOT / "docs" / source).parent

    def rewritten(link: re.Match[str]) -> str:
        target = (folder / link[1]).resolve()
        path = target.relative_to(ROOT).as_posix()
        name = PAGES.get(path, path.removeprefix("docs/"))
        if name in files.src_uris:
            return "../" * source.count("/") + name
        if not target.exists():
            log.warning("%s links to %s, which does not exist.", of_root.get(source, f"docs/{source}"), path)
        return f"{config.repo_url}/blob/main/{path}"

    return LINK.sub(rewritten, markdown)
