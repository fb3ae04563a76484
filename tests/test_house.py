"""What holds for the five packages together: light imports, and READMEs that are true."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner
from lmm_detector.cli.main import main as lmm_detector
from rbox_baselines.cli.main import main as rbox_baselines
from rbox_formats import codecs, datasets, synthetic
from rbox_formats.cli.main import main as rbox_formats
from rbox_metrics.cli.main import main as rbox_metrics
from rbox_serve.cli.main import main as rbox_serve
from rbox_testing.tiny_florence2 import save_tiny_florence2

ROOT = Path(__file__).parents[1]
COMMANDS = {
    "lmm-detector": lmm_detector,
    "rbox-baselines": rbox_baselines,
    "rbox-formats": rbox_formats,
    "rbox-metrics": rbox_metrics,
    "rbox-serve": rbox_serve,
}
HEAVY = ["torch", "transformers", "numba", "shapely", "matplotlib", "torchvision", "rich", "pydantic", "starlette"]


@pytest.mark.parametrize("name", [command.replace("-", "_") for command in COMMANDS])
def test_help_imports_nothing_heavy(name: str) -> None:
    code = (
        f"import sys, {name}\n"
        f"from {name}.cli.main import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit as end:\n    assert not end.code\n"
        f"print('heavy:', [name for name in {HEAVY} if name in sys.modules])"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.splitlines()[-1] == "heavy: []"


def test_torchvision_is_never_imported() -> None:
    for path in ROOT.glob("packages/*/src/**/*.py"):
        assert not re.search(r"^\s*(import|from) torchvision", path.read_text(), re.MULTILINE), path


def test_every_bound_has_its_reason() -> None:
    """Each dependency that is not a package of the workspace is followed by a comment."""
    for path in ROOT.glob("packages/*/pyproject.toml"):
        for requirement in tomllib.loads(path.read_text())["project"]["dependencies"]:
            line = next(line for line in path.read_text().splitlines() if f'"{requirement}"' in line)
            assert requirement.startswith("rbox-") or "#" in line, (path, requirement)


def test_the_first_screen_has_the_two_commands() -> None:
    first_screen = "\n".join((ROOT / "README.md").read_text().splitlines()[:25])
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["envs"]["default"]["scripts"]
    for script in ("demo", "test"):
        assert f"pip install hatch && hatch run {script}" in first_screen
        assert script in scripts
    assert scripts["demo"].startswith("lmm-detector demo --out runs/demo")


def blocks(path: Path, *languages: str) -> list[str]:
    """The code of a page in one of some languages ("" where none is named)."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", path.read_text(), re.MULTILINE | re.DOTALL)
    return [code for language, code in found if language in languages]


READMES = sorted([ROOT / "README.md", *ROOT.glob("packages/*/README.md")])


@pytest.mark.parametrize("path", READMES, ids=lambda path: path.parent.name)
def test_commands_of_the_readmes_exist(path: Path) -> None:
    """Every option that a README shows is one that its command has."""
    shown = [shlex.split(line, comments=True) for block in blocks(path, "", "bash") for line in block.splitlines()]
    for words in shown:
        if not words or words[0] not in COMMANDS:
            continue
        subcommand = COMMANDS[words[0]].commands[words[1]]  # type: ignore[attr-defined]
        known = {option for parameter in subcommand.params for option in parameter.opts} | {"--help"}
        assert {word for word in words if word.startswith("--")} <= known, words


QUICK_BASELINE = """image_size=64, backbone="none", options={
    "train_cfg.max_epochs": 1, "model.backbone.depth": 18, "model.neck.in_channels": [64, 128, 256, 512],
    "train_dataloader.num_workers": 0, "train_dataloader.persistent_workers": False,
    "val_dataloader.num_workers": 0, "val_dataloader.persistent_workers": False,
}"""


@pytest.mark.parametrize(
    "path",
    # The formats' runs the shipped detector, the baselines' builds a ResNet, the multimodal models' trains a model.
    [
        pytest.param(path, marks=[] if path.parent.name == "rbox-metrics" else [pytest.mark.slow], id=path.parent.name)
        for path in READMES
        if blocks(path, "python")
    ],
)
def test_python_of_the_readmes_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On synthetic scenes in the place of DOTA, a tiny model in that of Florence-2, two steps in that of many."""
    monkeypatch.chdir(tmp_path)
    for split in ("train", "val"):
        (record,) = synthetic.write_scenes("DOTA", split, [1])  # its classes are among DOTA's
    shutil.copy(f"DOTA/val/images/{record.image_id}.png", "scene.png")
    save_tiny_florence2(tmp_path / "tiny", datasets.dota.V1_0, codecs.get("florence2"))
    for block in blocks(path, "python"):
        code = block.replace("microsoft/Florence-2-large", "tiny").replace(
            'out="runs/dota"', 'out="runs/dota", steps=2, window=256, cpu=True'
        )
        # As `load_detector` finds the shipped one.
        code = code.replace('load_detector("runs/dota/model")', 'load_detector("demo")')
        code = code.replace("scene.tif", "scene.png").replace("scenes/*.tif", "*.png")
        code = code.replace('"train", "val"))', f'"train", "val"), {QUICK_BASELINE})')
        exec(compile(code, str(path), "exec"), {})  # noqa: S102  # our own README


@pytest.mark.parametrize("command", COMMANDS)
def test_versions_are_said(command: str) -> None:
    result = CliRunner().invoke(COMMANDS[command], ["--version"])
    assert re.search(r"version \d+\.\d+\.\d+", result.output)


def test_the_packages_carry_one_version_and_bounds_that_hold() -> None:
    """Each takes the others of its own version, and of none that may have other names."""
    sources = "\n".join(path.read_text() for path in ROOT.glob("packages/*/src/*/__init__.py"))
    versions = set(re.findall(r'^__version__ = "(.*)"', sources, re.MULTILINE))
    assert len(versions) == 1
    major, minor, _ = map(int, versions.pop().split("."))
    for path in ROOT.glob("packages/*/pyproject.toml"):
        for requirement in tomllib.loads(path.read_text())["project"]["dependencies"]:
            if requirement.startswith(("rbox-", "lmm-")):
                assert requirement.endswith(f">={major}.{minor},<{major}.{minor + 1}"), (path, requirement)


def test_what_names_the_project_names_one_home_and_one_version() -> None:
    """The packages' metadata, the citation, and the address of security reports."""
    projects = [tomllib.loads(path.read_text())["project"] for path in ROOT.glob("packages/*/pyproject.toml")]
    [home] = {project["urls"]["Homepage"] for project in projects}
    for project in projects:
        for address in project["urls"].values():
            assert address.startswith(home)
            _, _, path = address.partition("/main/")
            assert (ROOT / path).exists(), address
    citation = (ROOT / "CITATION.cff").read_text()
    assert f"repository-code: {home}\n" in citation
    assert f"{home}/security/advisories/new" in (ROOT / ".github/ISSUE_TEMPLATE/config.yml").read_text()
    version = re.search(r"^version: (\S+)$", citation, re.MULTILINE)
    source = (ROOT / "packages/rbox-formats/src/rbox_formats/__init__.py").read_text()
    assert version
    assert f'__version__ = "{version[1]}"' in source


# What opens an image, and what opens a zip; each has one room, where formats, limits and orientation are seen to.
OPENERS = {
    "rbox_formats/images": r"\b(Image|rasterio)\.open\(|\b(imread|imdecode|imfrombytes)\(|\bImageFile\.Parser",
    "rbox_formats/archives.py": r"\bZipFile\((?!temporary)|\bis_zipfile\(|\btarfile\.|\bgzip\.|\bunpack_archive\(",
}


def test_no_group_is_repeated_possessively() -> None:
    """Pythons before 3.11.5, such as Debian 12's, then match too little (gh-106052): `(?>(?:...)*)` says the same."""
    repeated = re.compile(r"\)(?:[*+?]|\{[0-9, ]*\})\+")
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in ROOT.glob("packages/*/src/**/*.py")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if repeated.search(line)
    ]
    assert found == []


@pytest.mark.parametrize("room", OPENERS)
def test_images_and_zips_are_opened_in_one_room(room: str) -> None:
    sources = list(ROOT.glob("packages/*/src/**/*.py"))
    paths = [path for path in sources if f"/src/{room}" not in path.as_posix()]
    assert len(paths) < len(sources)
    assert any(re.search(OPENERS[room], path.read_text()) for path in set(sources) - set(paths))
    found = [path for path in paths if re.search(OPENERS[room], path.read_text())]
    assert not found, f"open an image or a zip by themselves: {found}"


@pytest.mark.parametrize("name", ["lmm-detector", "rbox-baselines"])
def test_detectors_are_served_by_their_own_commands(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the options of `rbox-serve run`; and it is said what to install, where that is not there."""
    from rbox_serve import _running

    served = []
    monkeypatch.setattr(_running, "serve", lambda settings, host, port: served.append((settings, host, port)))
    result = CliRunner().invoke(COMMANDS[name], ["serve", "--model", "a=x", "--port", "9", "--batch-wait", "2"])
    assert result.exit_code == 0, result.output
    [(settings, host, port)] = served
    assert (settings.models, settings.wait, host, port) == ({"a": "x"}, 0.002, "127.0.0.1", 9)
    assert "--max-pixels" in CliRunner().invoke(COMMANDS[name], ["serve", "--help"]).output
    assert CliRunner().invoke(COMMANDS[name], ["serve", "--prot", "9"]).exit_code == 2
    monkeypatch.setattr("rbox_formats.cli._serve.find_spec", lambda module: None)
    result = CliRunner().invoke(COMMANDS[name], ["serve", "--help"])
    assert (result.exit_code, "pip install rbox-serve" in result.output) == (1, True)
