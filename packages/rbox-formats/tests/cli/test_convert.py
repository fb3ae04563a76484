from __future__ import annotations

import itertools
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import shapely
from click.testing import CliRunner, Result
from PIL import Image
from rbox_formats import ClassNames, ImageRecord, datasets, rbox_to_hbox, rbox_to_quad
from rbox_formats.cli import _output
from rbox_formats.cli.main import main
from rbox_formats.datasets import FORMATS
from rbox_formats.errors import DatasetError
from rbox_formats.inspection._checks import corner_distance
from rbox_testing.places import SHARED
from rbox_testing.samples import sampled

EXAMPLE = SHARED / "data/dota-example"
READ = [name for name, entry in FORMATS.items() if entry.read]
NAMES = ["plane", "ship", "small-vehicle", "large-vehicle"]
ODD = [(10.0, 20.0), (50.0, 20.0), (50.0, 30.0), (12.0, 30.0)]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["convert", *map(str, arguments)], catch_exceptions=False)


def write_dota(root: Path, lines: dict[str, str], *, size=(200, 160), images=True) -> Path:
    (root / "labelTxt").mkdir(parents=True)
    (root / "images").mkdir()
    for name, text in lines.items():
        (root / "labelTxt" / f"{name}.txt").write_text(text)
        if images:
            Image.new("RGB", size, (40, 60, 80)).save(root / "images" / f"{name}.png")
    return root


def contents(root: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    lines = {
        "P1": "gsd:0.3\n10 20 50 20 50 30 12 30 ship 1\n100 90 140 90 140 130 100 130 plane 0\n",
        "P2": "1 1 9 1 9 3 1 3 small-vehicle 0\n20 20 30 20 30 25 20 25 large-vehicle 0\n",
        "P3": "",
    }
    return write_dota(tmp_path / "data", lines)


def test_to_another_version_and_back(data: Path, tmp_path: Path) -> None:
    result = run("--data", data, "--to", "dota-v1.5", "--out", tmp_path / "a")
    assert result.exit_code == 0, result.output
    assert f"4 objects on 3 images are in {tmp_path / 'a' / 'labelTxt'}." in result.output
    assert "Read back, it is the same." in result.output
    assert f"Images belong in {tmp_path / 'a' / 'images'}" in result.output
    back = run("--data", tmp_path / "a", "--format", "dota-v1.5", "--to", "dota", "--out", tmp_path / "b", "--no-check")
    assert back.exit_code == 0
    assert "Read back" not in back.output
    for path in (data / "labelTxt").iterdir():
        assert (tmp_path / "b" / "labelTxt" / path.name).read_text() == path.read_text()


def test_splits(data: Path, tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    data.rename(tmp_path / "root" / "val")
    for options, folder in (
        ((), "val/labelTxt"),
        (("--out-split", "train"), "train/labelTxt"),
        (("--out-split", ""), "labelTxt"),
    ):
        out = tmp_path / "_".join(["out", *options])
        result = run("--data", tmp_path / "root", "--split", "val", "--to", "dota", "--out", out, *options)
        assert result.exit_code == 0, result.output
        assert sorted(path.name for path in (out / folder).iterdir()) == ["P1.txt", "P2.txt", "P3.txt"]


def test_classes_are_renamed_joined_and_dropped(data: Path, tmp_path: Path) -> None:
    rename = ("--map", "small-vehicle=Vehicle", "--map", "Large Vehicle=vehicle", "--drop", "ship")
    result = run("--data", data, "--to", "dota", "--out", tmp_path / "out", *rename)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "out/labelTxt/P1.txt").read_text() == "gsd:0.3\n100 90 140 90 140 130 100 130 plane 0\n"
    words = (tmp_path / "out/labelTxt/P2.txt").read_text().split()
    assert [words[8], words[18]] == ["Vehicle", "Vehicle"]
    assert "3 objects on 3 images" in result.output
    assert "Dropped objects, by --drop or --map: 1." in result.output
    names = re.search(r"dota has no Vehicle, vehicle: .*--class-names '(.*)'", result.output)
    assert names, result.output
    (p1, p2, _) = datasets.read("dota", tmp_path / "out", class_names=names[1].split(","))
    assert [names[1].split(",")[label] for label in (*p1.labels, *p2.labels)] == ["plane", "Vehicle", "Vehicle"]


def test_names_are_spelled_as_the_target_has_them(tmp_path: Path) -> None:
    root = write_dota(tmp_path / "data", {"P1": "10 20 50 20 50 30 10 30 Storage_Tank 0\n"})
    result = run("--data", root, "--class-names", "SHIP,Storage_Tank", "--to", "dota", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "storage-tank 0" in (tmp_path / "out/labelTxt/P1.txt").read_text()
    assert "has no" not in result.output


@pytest.mark.parametrize(
    "options, code, message",
    [
        (["--to", "pascal"], 2, "'pascal' is not a known format"),
        (["--to", "dota", "--map", "tram=ship"], 1, "expected a class among plane"),
        (["--to", "dota", "--drop", "tram"], 1, "expected a class among plane"),
        (["--to", "dota", "--map", "ship"], 2, "expected OLD=NEW or a JSON file, got 'ship'"),
        (["--to", "dota", "--map", "ship=boat", "--map", "ship=canoe"], 2, "expected one new name for 'ship'"),
        (["--to", "dota", "--map", "ship=boat", "--drop", "Ship"], 1, "expected one thing to be done with 'Ship'"),
        (["--to", "dota", "--class-names", "ship", "--drop", "ship"], 1, "expected a class that is kept"),
        (["--to", "dota", "--class-names", "ship"], 1, "P1.txt:3: expected a class among ship, got 'plane'"),
        ([], 2, "Missing option '--to'"),
    ],
)
def test_bad_options_are_named(data: Path, tmp_path: Path, options: list[str], code: int, message: str) -> None:
    result = run("--data", data, "--out", tmp_path / "out", *options)
    assert result.exit_code == code
    assert message in " ".join(result.output.split())


def test_an_input_is_never_written_over(data: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in data.rglob("*.*")}
    (tmp_path / "link").symlink_to(data)
    for out in (data, tmp_path, data / "labelTxt", data / ".." / "data", tmp_path / "link"):
        result = run("--data", data, "--to", "dota", "--out", out)
        assert result.exit_code == 1, out
        assert "holds nothing of the old one" in result.output
    (tmp_path / "root").mkdir()
    data.rename(tmp_path / "root" / "val")
    result = run("--data", tmp_path / "root", "--split", "val", "--to", "dota", "--out", tmp_path / "root/val")
    assert result.exit_code == 1
    result = run("--data", tmp_path / "root", "--split", "val", "--to", "dota", "--out", tmp_path / "root/new")
    assert result.exit_code == 0
    assert {tmp_path / "root" / "val" / path.relative_to(data): content for path, content in before.items()} == {
        path: path.read_bytes() for path in (tmp_path / "root/val").rglob("*.*")
    }


@pytest.mark.parametrize("how", ["copy", "link"])
def test_images_come_along(data: Path, tmp_path: Path, how: str) -> None:
    (tmp_path / "out" / "images").mkdir(parents=True)
    Image.new("RGB", (9, 9)).save(tmp_path / "out" / "images" / "P1.png")  # is not in the way
    result = run("--data", data, "--to", "dota", "--out", tmp_path / "out", "--images", how)
    assert result.exit_code == 0, result.output
    for path in (data / "images").iterdir():
        target = tmp_path / "out" / "images" / path.name
        assert target.read_bytes() == path.read_bytes()
        assert target.is_symlink() == (how == "link")
    assert "Images belong" not in result.output
    assert len(list((tmp_path / "out" / "images").iterdir())) == 3


@pytest.mark.parametrize("to", ["coco", "lmmrotate"])
def test_a_file_with_its_images_beside_it(data: Path, tmp_path: Path, to: str) -> None:
    command = ("--data", data, "--to", to, "--out", tmp_path / "new" / "all.json", "--images", "copy")
    result = run(*command)
    assert result.exit_code == 0, result.output
    assert f"4 objects on 3 images are in {tmp_path / 'new' / 'all.json'}." in result.output
    assert "could not be compared" not in result.output
    names = {str(path.relative_to(tmp_path / "new")) for path in contents(tmp_path / "new")}
    assert names == {"all.json", "images/P1.png", "images/P2.png", "images/P3.png"}
    before = contents(tmp_path / "new")
    result = run(*command)
    assert result.exit_code == 1
    assert "all.json: expected a folder to write to, got a file\nChoose another --out." in result.output
    assert contents(tmp_path / "new") == before


@pytest.mark.parametrize("to", ["dota", "coco", "yolo-obb", "hrsc2016", "labelme", "ymir", "geojson"])
def test_another_dataset_is_not_written_into(data: Path, tmp_path: Path, to: str) -> None:
    ships = ("--map", "plane=ship", "--map", "small-vehicle=ship", "--map", "large-vehicle=ship")
    others = [word for name in datasets.dota.V1_0 for word in ("--drop", name) if name not in NAMES]
    command = ("--data", data, "--to", to, "--out", tmp_path / "out", *ships, *others)
    assert run(*command).exit_code == 0
    before = contents(tmp_path / "out")
    (data / "labelTxt" / "P1.txt").rename(data / "labelTxt" / "P9.txt")
    (data / "images" / "P1.png").rename(data / "images" / "P9.png")
    result = run(*command, "--images", "none" if to == "geojson" else "copy")
    assert result.exit_code == 1
    assert "got one that holds some\nChoose another --out, or remove it." in result.output
    assert contents(tmp_path / "out") == before


@pytest.mark.parametrize("to", ["dota", "coco", "yolo-obb", "hrsc2016-l3", "ymir", "ucas-aod", "voc"])
def test_parts_are_written_one_after_the_other(data: Path, tmp_path: Path, to: str) -> None:
    """Also where they share a folder of annotations, or a file with the names."""
    write_dota(tmp_path / "root" / "val", {"Q1": "10 20 50 20 50 30 10 30 ship 0\n"})
    data.rename(tmp_path / "root" / "train")
    for path in (tmp_path / "root/train/labelTxt").iterdir():
        path.write_text(re.sub("plane|small-vehicle|large-vehicle", "ship", path.read_text()))
    out = tmp_path / "out"
    for split in ("train", "val"):
        command = ("--data", tmp_path / "root", "--split", split, "--class-names", "ship", "--to", to, "--out", out)
        result = run(*command, "--images", "copy")
        assert result.exit_code == 0, result.output
        before = contents(out)
        result = run(*command)
        assert result.exit_code == 1
        assert "Choose another --out, or remove" in result.output
        assert contents(out) == before
    read = [[record.image_id for record in datasets.read(to, out, split, ["ship"])] for split in ("train", "val")]
    assert read == [["P1", "P2", "P3"], ["Q1"]]


def test_annotations_in_a_shared_folder_are_not_replaced(data: Path, tmp_path: Path) -> None:
    command = ("--data", data, "--class-names", ",".join(NAMES), "--to", "voc", "--out", tmp_path / "out")
    assert run(*command, "--out-split", "train").exit_code == 0
    before = contents(tmp_path / "out")
    result = run(*command, "--out-split", "val")
    assert result.exit_code == 1
    assert "P1.xml: expected no annotations of these images, found some" in result.output
    assert contents(tmp_path / "out") == before


def test_the_same_image_is_never_made_a_link_to_itself(data: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (data / "images").rename(tmp_path / "out" / "images")
    (data / "images").symlink_to(tmp_path / "out" / "images")
    before = contents(tmp_path / "out")
    assert run("--data", data, "--to", "dota", "--out", tmp_path / "out", "--images", "link").exit_code == 0
    assert before.items() <= contents(tmp_path / "out").items()


@pytest.mark.parametrize("to", ["dota", "coco", "yolo-obb", "voc"])
@pytest.mark.parametrize("there", [False, True])
def test_a_failure_leaves_nothing(data: Path, tmp_path: Path, to: str, there: bool) -> None:
    (data / "labelTxt" / "P3.txt").write_text("nonsense\n")
    out = tmp_path / "new" / "out"
    if there:
        out.mkdir(parents=True)
    result = run("--data", data, "--to", to, "--out", out, "--images", "link")
    assert result.exit_code == 1
    assert "P3.txt:1: expected" in result.output
    assert sorted(tmp_path.iterdir()) == ([data, tmp_path / "new"] if there else [data])
    assert not there or not list(out.iterdir())


def test_what_a_killed_run_leaves_is_no_dataset(data: Path, tmp_path: Path) -> None:
    script = """
import importlib, os, sys
from rbox_formats.cli.main import main
convert = importlib.import_module("rbox_formats.cli.convert")
done = []
placed = convert._place
def place(*arguments, **options):
    placed(*arguments, **options)
    done.append(1)
    if len(done) == 3:
        os.kill(os.getpid(), 9)
convert._place = place
main(sys.argv[1:])
"""
    out = tmp_path / "new" / "out"
    command = ["convert", "--data", data, "--to", "dota", "--out", out, "--images", "copy"]
    killed = subprocess.run([sys.executable, "-c", script, *map(str, command)], check=False)
    assert killed.returncode == -9
    assert not out.exists()
    assert [path.name[:10] for path in (tmp_path / "new").iterdir() if path.is_dir()] == [".rbox-tmp-"]
    with pytest.raises(DatasetError, match=r"expected a folder 'labelTxt'.*in it, found none(?!.*splits)"):
        datasets.read("dota", tmp_path / "new")
    assert run(*command[1:]).exit_code == 0
    assert list((tmp_path / "new").iterdir()) == [out]
    assert len(datasets.read("dota", out)) == 3


KILLED = """
import importlib, os, sys
from pathlib import Path
from rbox_formats.cli.main import main
convert, output = (importlib.import_module(f"rbox_formats.cli.{name}") for name in ("convert", "_output"))
if sys.argv[1] == "compare":
    convert._compared = lambda *_: os.kill(os.getpid(), 9)
else:
    left = int(sys.argv[1])
    replace = Path.replace
    def counted(self, target):
        global left
        if ".rbox-tmp-" in str(self.parent) and ".rbox-tmp-" not in str(target):
            left -= 1
            if left < 0:
                os.kill(os.getpid(), 9)
        return replace(self, target)
    Path.replace = counted
main(sys.argv[2:])
"""


def files_in(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


@pytest.mark.parametrize(
    "to, instant",
    sampled(itertools.product(["yolo-obb", "coco"], ["0", "1", "compare"]), [("coco", "compare")]),
)
def test_what_a_killed_run_has_put_is_done_anew(data: Path, tmp_path: Path, to: str, instant: str) -> None:
    """Killed when it moves the first thing to its place, the second, or when all is there."""
    command = ["convert", "--data", data, "--to", to, "--images", "copy", "--out"]
    assert run(*command[1:], tmp_path / "whole" / "out").exit_code == 0
    place = tmp_path / "killed"
    words = [sys.executable, "-c", KILLED, instant, *map(str, command), str(place / "out")]
    assert subprocess.run(words, check=False).returncode == -9
    result = run(*command[1:], place / "out")
    assert result.exit_code == 0, result.output
    assert ("Files of a run that was stopped" in result.output) == (instant != "0")
    assert files_in(place) == files_in(tmp_path / "whole")
    assert run(*command[1:], place / "out").exit_code == 1  # what came whole is not written over


def test_what_was_changed_since_a_killed_run_stays(data: Path, tmp_path: Path) -> None:
    command = ["convert", "--data", data, "--to", "dota", "--out", tmp_path / "out"]
    subprocess.run([sys.executable, "-c", KILLED, "compare", *map(str, command)], check=False)
    changed = tmp_path / "out" / "labelTxt" / "P1.txt"
    changed.write_text("mine")
    (tmp_path / "out" / "mine.txt").write_text("mine")
    result = run(*command[1:])
    assert result.exit_code == 1
    assert "expected an empty folder for the new annotations" in result.output
    assert changed.read_text() == (tmp_path / "out" / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize(
    "note", ['{"../precious": MARK}', '{"/tmp/x": [1, 2]}', '{"out/link/precious": MARK}', '{"a": null}', "[]", "half"]
)
def test_a_note_of_somebody_else_removes_nothing_outside(data: Path, tmp_path: Path, note: str) -> None:
    """A folder that comes from elsewhere may hold one."""
    precious = tmp_path / "precious"
    precious.write_text("precious")
    base = tmp_path / "base"
    (base / "out").mkdir(parents=True)
    (base / "out" / "link").symlink_to(tmp_path)
    mark = [precious.stat().st_size, precious.stat().st_mtime_ns]
    command = ["convert", "--data", data, "--to", "dota", "--out", base / "out"]
    placed = _output.Placed(base / "out", None)
    placed._path.write_text(note.replace("MARK", str(mark)))
    result = run(*command[1:])
    assert precious.read_text() == "precious"
    assert result.exit_code == (0 if note.startswith("{") else 1), result.output
    if result.exit_code:
        assert "expected a note of what a stopped run has put beside it" in result.output


def test_classes_that_the_target_has_not_are_named(data: Path, tmp_path: Path) -> None:
    names = ("--class-names", ",".join(NAMES))
    result = run("--data", data, *names, "--to", "hrsc2016", "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert (
        "hrsc2016 does not have plane, small-vehicle, large-vehicle: rename each (--map OLD=NEW), or leave its objects "
        "out (--drop NAME)." in result.output
    )
    assert not (tmp_path / "out").exists()
    drop = [word for name in NAMES if name != "ship" for word in ("--drop", name)]
    assert run("--data", data, *names, "--to", "hrsc2016", "--out", tmp_path / "out", *drop).exit_code == 0


@pytest.mark.parametrize("out", ["file", "file/out", pytest.param("/proc/out", marks=pytest.mark.slow)])
def test_where_nothing_can_be_written(data: Path, tmp_path: Path, out: str) -> None:
    (tmp_path / "file").write_text("text")
    result = run("--data", data, "--to", "dota", "--out", tmp_path / out)
    assert result.exit_code == 1
    assert result.output.startswith(f"Error: {tmp_path / out}: expected a folder ")
    assert "Choose another --out." in result.output


@pytest.mark.parametrize("to", ["yolo-obb", "lmmrotate"])
def test_a_missing_image_where_one_is_needed(data: Path, tmp_path: Path, to: str) -> None:
    (data / "images" / "P2.png").unlink()
    command = ("--data", data, "--to", to, "--out", tmp_path / "out")
    result = run(*command)
    assert result.exit_code == 1
    assert "'P2'" in result.output
    assert "(--only-with-images)" in result.output
    assert not (tmp_path / "out").exists()
    assert run(*command, "--only-with-images").exit_code == 0


def test_annotations_without_their_image_can_be_left_out(data: Path, tmp_path: Path) -> None:
    (data / "images" / "P2.png").unlink()
    result = run("--data", data, "--to", "dota", "--out", tmp_path / "out", "--only-with-images")
    assert result.exit_code == 0, result.output
    assert "Annotations left out because they have no image: 1." in result.output
    assert sorted(path.name for path in (tmp_path / "out/labelTxt").iterdir()) == ["P1.txt", "P3.txt"]


def test_losses_are_said(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A format that keeps little: whole pixels of boxes, no metadata, nobody is difficult, the first image is lost."""

    def write(records, root, split, class_names):  # type: ignore[no-untyped-def]
        poor = [
            ImageRecord(record.image_id, np.round(record.boxes), record.labels[::-1], width=200, height=160)
            for record in records
        ]
        return datasets.dota.write(poor[:2], root, split, class_names)

    monkeypatch.setitem(FORMATS, "poor", datasets.Format(datasets.dota.read, write, datasets.dota.V1_0))
    result = run("--data", data, "--to", "poor", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    lines = result.output.split("Read back, it is not the same:\n")[1].splitlines()
    assert "  images that are not there: 1" in lines
    assert "  objects that are difficult in only one of the two: 1" in lines
    assert "  images without their 'gsd': 1" in lines
    assert any("objects with moved corners (by" in line for line in lines)


def test_formats_that_are_only_written_are_not_compared(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FORMATS, "out-only", datasets.Format(None, datasets.dota.write))
    result = run("--data", data, "--to", "out-only", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "out-only is only written" in result.output
    result = run("--data", data, "--to", "out-only", "--out", tmp_path / "out2", "--images", "copy")
    assert result.exit_code == 1
    assert "expected a format that says where its images are" in result.output


def ships(path: Path) -> list[ImageRecord]:
    """Two images of ships, each a rectangle that every format can hold."""
    boxes = np.array([(60.0, 50.0, 40.0, 10.0, 0.3), (100.0, 80.0, 60.0, 24.0, -1.2), (30.0, 100.0, 22.0, 12.0, 0.0)])
    records = []
    for name, chosen in (("P1", boxes), ("P2", boxes[1:])):
        Image.new("RGB", (200, 160)).save(path / f"{name}.png")
        (path / f"{name}.pgw").write_text("0.5\n0\n0\n-0.5\n500000.25\n4982959.75\n")  # for formats of maps
        labels = np.zeros(len(chosen), int)
        quads = rbox_to_quad(chosen)
        records.append(ImageRecord(name, chosen, labels, quads, path=path / f"{name}.png", width=200, height=160))
    return records


# Its classes have numbers, and ships have none: `test_public_sets` writes and reads it.
NO_SHIPS = {"vedai"}

# The second and the third ship do not touch, but the boxes around them do, and a raster makes touching objects one.
MERGED = {("voc", "whu")}

# Each format is read and written with DOTA at the other end; the other pairs take longer, and nothing in `convert` is
# about a pair.
PAIRS = [(format, to) for format in READ for to in READ if not NO_SHIPS & {format, to} and (format, to) not in MERGED]

# Formats of upright boxes, which hold the box around a rotated one.
UPRIGHT = {"voc"}
# Holds boxes on the image stretched to a square.
STRETCHED = {"yolov5-obb"}
# The pixels of a raster, whose centres are the box.
RASTERED = {"whu"}


@pytest.mark.parametrize("format, to", sampled(PAIRS, [pair for pair in PAIRS if "dota" in pair]))
def test_every_pair_of_formats(format: str, to: str, tmp_path: Path) -> None:
    names = ClassNames(["ship"])
    root = tmp_path / "data"
    place = FORMATS[format].images
    assert place is not None
    place(root, "train").mkdir(parents=True)
    records = ships(place(root, "train"))
    datasets.write(format, records, root, "train", names)
    result = run(
        *("--data", root, "--format", format, "--split", "train", "--class-names", "ship"),
        *("--to", to, "--out", tmp_path / "new", "--images", "link"),
    )
    assert result.exit_code == 0, result.output
    assert "5 objects on 2 images are in" in result.output
    assert "could not be compared" not in result.output
    own = FORMATS[to].class_names
    read = own if own is not None and own.find("ship") is not None else names
    for before, after in zip(records, datasets.read(to, tmp_path / "new", "train", read), strict=True):
        assert after.image_id == before.image_id
        assert after.path is not None
        assert after.path.read_bytes() == before.file.read_bytes()
        assert [read[label] for label in after.labels] == [read[read.find("ship") or 0]] * len(before)
        corners = rbox_to_quad(after.boxes)
        is_stretched = STRETCHED & {format, to}
        if UPRIGHT & {format, to}:
            bound = 2 if is_stretched else 1.01
            np.testing.assert_allclose(rbox_to_hbox(after.boxes), rbox_to_hbox(before.boxes), atol=bound)
        else:
            bound = 3.5 if is_stretched else 1.5 if RASTERED & {format, to} else 0.2
            assert corner_distance(corners, rbox_to_quad(before.boxes)).max() < bound


@pytest.mark.skipif(not EXAMPLE.exists(), reason="needs the example images of DOTA")
@pytest.mark.parametrize(
    "to", sampled([name for name in READ if name != "geojson-map"], ["coco", "voc", "yolo-obb", "whu"])
)
def test_real_annotations(to: str, tmp_path: Path) -> None:
    """What a format does to real quads is said, and no object is lost."""
    result = run("--data", EXAMPLE, "--to", to, "--out", tmp_path / "new", "--images", "link", "--only-with-images")
    if result.exit_code:
        assert "class" in result.output  # a format that holds ships only, and says so
        return
    assert "600 objects on 2 images" in result.output
    assert "not there" not in result.output


@pytest.fixture
def beyond(tmp_path: Path) -> Path:
    """Objects inside, over the right border, over a corner and slanted, and outside; a second image has all inside."""
    lines = [
        "20 10 60 10 60 30 20 30 ship 0",
        "180 10 220 10 220 30 180 30 ship 0",
        "-20 20 20 -20 40 0 0 40 plane 0",
        "300 10 340 10 340 30 300 30 ship 0",
    ]
    return write_dota(tmp_path / "data", {"P1": "\n".join(lines), "P2": "0 0 200 0 200 160 0 160 ship 0\n"})


def test_corners_outside_are_said_where_whole_images_would_be_left_out(beyond: Path, tmp_path: Path) -> None:
    result = run("--data", beyond, "--to", "yolo-obb", "--out", tmp_path / "yolo", "--images", "copy")
    assert result.exit_code == 0, result.output
    assert "Objects with a corner outside of their image: 3, on 1 image." in result.output
    assert "--clip" in result.output
    result = run("--data", beyond, "--to", "voc", "--out", tmp_path / "voc")
    assert "--clip" not in result.output


def test_objects_are_cut_at_the_border(beyond: Path, tmp_path: Path) -> None:
    """Shapely's part of each object inside the image is the witness."""
    result = run("--data", beyond, "--to", "yolo-obb", "--out", tmp_path / "yolo", "--images", "copy", "--clip")
    assert result.exit_code == 0, result.output
    assert "Objects cut at the border of their image: 2; left out, outside: 1." in result.output
    numbers = [
        [float(value) for value in line.split()[1:]]
        for path in sorted((tmp_path / "yolo" / "labels").glob("*.txt"))
        for line in path.read_text().splitlines()
    ]
    assert len(numbers) == 4
    assert all(0 <= value <= 1 for line in numbers for value in line)
    image = shapely.box(0, 0, 200, 160)
    first, second = datasets.read("yolo-obb", tmp_path / "yolo")
    assert second.quads[0].tolist() == [[0, 0], [200, 0], [200, 160], [0, 160]]
    objects = [next(iter(datasets.read("dota", beyond))).quads[i] for i in range(3)]
    for quad, found in zip(objects, first.quads, strict=True):
        rest = shapely.Polygon(quad).intersection(image)
        expected = rest.minimum_rotated_rectangle.intersection(image)
        assert shapely.Polygon(found).intersection(expected).area >= 0.75 * expected.area
        if expected.equals(rest):
            assert (
                shapely.Polygon(found).equals_exact(rest.normalize(), 1e-6)
                or shapely.Polygon(found).symmetric_difference(rest).area < 1e-6
            )
