"""The page's files, without a browser: they are in the wheel, find each other, and need nothing from elsewhere."""

from __future__ import annotations

import re
import zipfile
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "src" / "rbox_serve" / "page"
FILES = sorted(path for path in PAGE.rglob("*") if path.is_file())
MODULES = [path for path in FILES if path.suffix == ".js"]


def test_all_of_it_is_in_the_wheel(tmp_path: Path) -> None:
    builders = pytest.importorskip("hatchling.builders.wheel")
    wheel = next(builders.WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"]))
    held = set(zipfile.ZipFile(wheel).namelist())
    assert {path.relative_to(ROOT / "src").as_posix() for path in FILES} <= held
    assert len(MODULES) > 20


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.relative_to(PAGE).as_posix())
def test_a_module_imports_what_is_there_and_says_what_it_is_for(module: Path) -> None:
    text = module.read_text()
    assert text.startswith("/**")
    assert max(map(len, text.splitlines())) <= 120
    imports = re.findall(r'^import\s+(?:\* as \w+|\{([^}]*)\}) from "([^"]+)";$', text, re.MULTILINE)
    assert len(imports) == len(re.findall("^import ", text, re.MULTILINE))
    for names, address in imports:
        source = (module.parent / address).resolve()
        assert source in MODULES
        for name in filter(None, (name.strip().split(" as ")[0] for name in names.split(","))):
            declared = rf"^export (?:async )?(?:function\*?|class|const|let) {name}\b"
            assert re.search(declared, source.read_text(), re.MULTILINE), name


def test_every_module_is_used() -> None:
    roots = {PAGE / "js" / "main.js", PAGE / "js" / "view" / "tile-worker.js", PAGE / "js" / "types.js"}
    found = set(roots)
    waiting = list(roots)
    while waiting:
        module = waiting.pop()
        for address in re.findall(r'^(?:import|\}) .*from "([^"]+)";$', module.read_text(), re.MULTILINE):
            source = (module.parent / address).resolve()
            if source not in found:
                found.add(source)
                waiting.append(source)
    assert found == set(MODULES)


class _Markup(HTMLParser):
    """What the page's markup names."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.references: list[str] = []
        self.files: list[str] = []
        self.policy = ""
        self.inline: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.ids += [values["id"]] if "id" in values else []
        for name in ("for", "aria-labelledby", "aria-describedby"):
            self.references += values.get(name, "").split()
        self.files += [values[name] for name in ("src", "href") if name in values]
        self.inline += [name for name in values if name.startswith("on") or name == "style"]
        if values.get("http-equiv") == "Content-Security-Policy":
            self.policy = values["content"]


def test_the_markup_names_what_is_there() -> None:
    markup = _Markup()
    markup.feed((PAGE / "index.html").read_text())
    assert len(markup.ids) == len(set(markup.ids))
    assert set(markup.references) <= set(markup.ids)
    assert all((PAGE / name).is_file() for name in markup.files)
    assert not markup.inline
    asked = {name for module in MODULES for name in re.findall(r'byId\("([\w-]+)"\)', module.read_text())}
    assert asked <= set(markup.ids)
    # Labels that the scripts fill in and look up by name.
    asked |= {f"{name}-{slot}" for name in ("model", "run", "threshold", "threshold-row", "no-scores") for slot in "AB"}
    assert asked <= set(markup.ids)
    directives = dict(part.strip().split(" ", 1) for part in markup.policy.split(";"))
    assert directives["default-src"] == "'none'"
    assert directives["script-src"] == directives["style-src"] == directives["connect-src"] == "'self'"
    assert directives["require-trusted-types-for"] == "'script'"


def test_no_text_becomes_markup_and_nothing_comes_from_elsewhere() -> None:
    for path in FILES:
        text = path.read_text()
        if path.suffix == ".js":
            risky = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|DOMParser|srcdoc"
            assert not re.search(risky, text), path
        addresses = set(
            re.findall(r"(?:https?:)?//[\w-]+\.[\w./-]+", re.sub(r"^\s*(?:\*|//).*$", "", text, flags=re.M))
        )
        assert addresses <= {"http://www.w3.org/2000/svg"}, path
