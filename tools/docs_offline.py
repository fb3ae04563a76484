"""Refuse a built site that fetches anything: scripts, styles, fonts and pictures must lie in it.

python tools/docs_offline.py runs/site
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

LOADED = re.compile(r"<(?:script|img|iframe|source)\b[^>]*\bsrc=[\"']?(?:https?:)?//[^\"'\s>]+|@import[^;]*//[^;]+")
LINKED = re.compile(r"<link\b[^>]*>")
FETCHED_BY_LINK = re.compile(r"rel=[\"']?(?:stylesheet|preconnect|icon|preload)[^>]*href=[\"']?(?:https?:)?//")


def fetched(page: str) -> list[str]:
    """Return what a page would fetch from elsewhere."""
    return [*LOADED.findall(page), *(link for link in LINKED.findall(page) if FETCHED_BY_LINK.search(link))]


def main(site: Path) -> int:
    pages = sorted(site.rglob("*.html"))
    found = [f"{path}: {what}" for path in pages for what in fetched(path.read_text(encoding="utf-8"))]
    print("\n".join(found) or f"{len(pages)} pages load nothing from elsewhere")
    return 1 if found or not pages else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
