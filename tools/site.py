"""For MkDocs: pages of the top become pages of the site, and links to files outside of it become plain text."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

TOP = Path(__file__).resolve().parent.parent
PAGES = {name: f"{name.removesuffix('.md').lower()}.md" for name in (
    "BENCHMARKS.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"
)}  # fmt: skip
"""Files of the top, and their names in the site."""
_LINK = re.compile(r"(?P<image>!?)\[(?P<text>[^\]]+)\]\((?P<to>[^)#:\s]+)(?P<anchor>#[^)\s]*)?\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages of the top."""
    for name, path in PAGES.items():
        files.append(File.generated(config, path, content=(TOP / name).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Point links at where their targets are in the site."""
    source = page.file.src_uri
    ours = {path: name for name, path in PAGES.items()}
    here = ours.get(source, f"docs/{source}")

    def linked(found: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(here), found["to"]))
        if not (TOP / target).exists():
            return found[0]  # MkDocs says that it is broken
        inside = PAGES.get(target) or (target.removeprefix("docs/") if target.startswith("docs/") else "")
        if not inside:
            return found["text"] if found["text"].startswith("`") else f"`{target}`"
        way = posixpath.relpath(inside, posixpath.dirname(source) or ".")
        return f"{found['image']}[{found['text']}]({way}{found['anchor'] or ''})"

    return _LINK.sub(linked, markdown)
