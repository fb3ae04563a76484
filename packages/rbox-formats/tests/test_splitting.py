from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import shapely
from PIL import Image
from rbox_formats import ImageRecord, datasets, images, rbox_to_quad, splitting, tiling
from rbox_formats.errors import DatasetError, FormatsError
from rbox_formats.splitting import SplitSettings, _workers
from rbox_formats.tiling import Window
from rbox_testing.places import SHARED
from rbox_testing.samples import sampled

EXAMPLE = SHARED / "data" / "dota-example"
SMALL = SplitSettings(size=64, gap=16, scales=(0.5, 1.0))


def make_dataset(root: Path, sizes: dict[str, tuple[int, int]], objects: int = 30) -> Path:
    """Images of noise, and boxes anywhere on them."""
    rng = np.random.default_rng(0)
    (root / "images").mkdir(parents=True)
    records = []
    for image_id, (width, height) in sizes.items():
        Image.fromarray(rng.integers(0, 255, (height, width, 3), dtype=np.uint8)).save(
            root / "images" / f"{image_id}.png"
        )
        low, high = [0, 0, 5, 5, -1.5], [width, height, 40, 40, 1.5]
        boxes = rng.uniform(low, high, (objects, 5))
        labels = rng.integers(0, 15, objects)
        records.append(ImageRecord(image_id, boxes, labels, metadata={"gsd": "0.5", "imagesource": "GoogleEarth"}))
    datasets.write("dota", records, root, None, datasets.dota.V1_0)
    return root


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return make_dataset(tmp_path / "data", {"P1": (200, 150), "P2__a": (70, 90), "P3": (64, 64)})


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def split(data: Path, out: Path, settings: SplitSettings = SMALL, **options: object) -> splitting.Summary:
    return splitting.split(datasets.read("dota", data), out, settings, **options)  # type: ignore[arg-type]


def test_windows_hold_their_part_of_image_and_objects(data: Path, tmp_path: Path) -> None:
    """Against the source: pixels as crop has them, and every object that shapely finds inside, at its place."""
    summary = split(data, tmp_path / "out")
    sources = {record.image_id: record for record in datasets.read("dota", data)}
    found = list(datasets.read("dota", tmp_path / "out"))
    expected = {
        tiling.window_name(image_id, window)
        for image_id, record in sources.items()
        for window in tiling.windows(*record.size, 64, 16, scales=(0.5, 1.0))
    }
    assert {record.image_id for record in found} == expected
    assert summary == (3, 0, len(found), 90, summary.unseen)
    seen: dict[str, set[int]] = {image_id: set() for image_id in sources}
    for record in found:
        image_id, window = tiling.parse_window_name(record.image_id, 64)
        source = sources[image_id]
        np.testing.assert_array_equal(images.load(record.file), tiling.crop(images.load(source.file), window))
        assert record.metadata == {}  # MMRotate's loader takes no header lines
        outlines = tiling.to_image(record.quads, window)
        place = shapely.box(*window.corners).intersection(shapely.box(0, 0, *source.size))
        on_image = [shapely.Polygon(quad).intersection(shapely.box(0, 0, *source.size)) for quad in source.quads]
        inside = [i for i, part in enumerate(on_image) if part.intersection(place).area >= 0.7 * part.area > 0]
        np.testing.assert_allclose(outlines, source.quads[inside], atol=1e-9)
        assert record.labels.tolist() == source.labels[inside].tolist()
        seen[image_id].update(inside)
    assert summary.unseen == 90 - sum(map(len, seen.values()))


def test_several_processes_write_the_same_bytes(data: Path, tmp_path: Path) -> None:
    one = split(data, tmp_path / "one", workers=1)
    assert split(data, tmp_path / "two", workers=2) == one
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


@pytest.mark.parametrize(
    "format, part",
    sampled(
        itertools.product(["coco", "voc", "labelme", "yolo-obb"], [None, "train"]),
        [("coco", None), ("voc", "train"), ("yolo-obb", "train")],
    ),
)
def test_windows_in_other_formats(format: str, part: str | None, data: Path, tmp_path: Path) -> None:
    """One file for all, and files per image beside the images or elsewhere: each finds its images."""
    names = datasets.dota.V1_0
    split(data, tmp_path / "dota")
    split(data, tmp_path / "out", format=format, part=part)
    found = {record.image_id: record for record in datasets.read(format, tmp_path / "out", part, names)}
    for record in datasets.read("dota", tmp_path / "dota"):
        other = found.pop(record.image_id)
        np.testing.assert_array_equal(images.load(other.file), images.load(record.file))
        np.testing.assert_array_equal(other.labels, record.labels)
    assert not found


def test_options(data: Path, tmp_path: Path) -> None:
    whole = SplitSettings(size=100, gap=20, scales=(0.5,), min_image_share=0)
    split(data, tmp_path / "resized", whole)
    assert images.read_size(tmp_path / "resized" / "images" / "P3__200__0___0.png") == (100, 100)
    split(data, tmp_path / "own", SplitSettings(size=100, gap=20, scales=(0.5,), resize=False, padding=False))
    for name in ("P3__200__0___0", "P1__200__0___0"):
        source = images.load(data / "images" / f"{name[:2]}.png")
        np.testing.assert_array_equal(images.load(tmp_path / "own" / "images" / f"{name}.png"), source)
    records = {record.image_id: record for record in datasets.read("dota", tmp_path / "own")}
    assert records["P3__200__0___0"].size == (64, 64)
    split(data, tmp_path / "jpg", SplitSettings(size=64, gap=0, image_format="jpg", quality=100))
    pixels = images.load(tmp_path / "jpg" / "images" / "P3__64__0___0.jpg").astype(int)
    assert np.abs(pixels - images.load(data / "images" / "P3.png")).mean() < 2


def test_windows_without_objects_can_be_skipped(tmp_path: Path) -> None:
    data = make_dataset(tmp_path / "data", {"P1": (128, 64), "P2": (64, 64)}, objects=0)
    (data / "labelTxt" / "P1.txt").write_text("70 10 90 10 90 20 70 20 ship 0\n")
    settings = SplitSettings(size=64, gap=0, keep_empty=False)
    assert split(data, tmp_path / "out", settings) == (2, 0, 1, 1, 0)
    assert list(contents(tmp_path / "out" / "images")) == ["P1__64__64___0.png"]
    assert (tmp_path / "out" / "labelTxt" / "P1__64__64___0.txt").read_text() == "6 10 26 10 26 20 6 20 ship 0\n"
    assert split(data, tmp_path / "all", SplitSettings(size=64, gap=0)).windows == 3


def test_a_run_that_is_done_is_not_done_again(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = split(data, tmp_path / "out")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    capsys.readouterr()
    assert split(data, tmp_path / "out", progress=True) == first
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == before
    assert "3/3" in capsys.readouterr().err
    (tmp_path / "out" / ".split" / "_" / "records").mkdir()  # as of a run that was killed when all was done
    assert split(data, tmp_path / "out") == first
    assert set((tmp_path / "out").rglob("*")) == set(before)
    (data / "labelTxt" / "P1.txt").write_text("70 10 90 10 90 20 70 20 ship 0\n")
    with pytest.raises(DatasetError, match="expected the dataset as it was split, got other annotations or images"):
        split(data, tmp_path / "out")


def test_other_settings_and_other_folders_are_refused(data: Path, tmp_path: Path) -> None:
    split(data, tmp_path / "out")
    with pytest.raises(
        DatasetError, match=r"settings\.json: expected a split with the same settings, .* gap 16, not 8"
    ):
        split(data, tmp_path / "out", SplitSettings(size=64, gap=8, scales=(0.5, 1.0)))
    with pytest.raises(DatasetError, match=r"format 'dota', not 'dota-v1\.5'"):
        split(data, tmp_path / "out", format="dota-v1.5")
    before = contents(data)
    with pytest.raises(DatasetError, match="data: expected an empty folder to write to, got one with files"):
        split(data, data)
    assert contents(data) == before
    with pytest.raises(DatasetError, match=r"expected a dataset format among .*, got 'nothing'"):
        split(data, tmp_path / "other", format="nothing")
    with pytest.raises(DatasetError, match="expected a plain file name"):
        split(data, tmp_path / "other", part="../elsewhere")
    assert not (tmp_path / "other").exists()


def test_parts_share_a_folder(data: Path, tmp_path: Path) -> None:
    for part in ("train", "val"):
        split(data, tmp_path / "out", part=part)
    assert len(datasets.read("dota", tmp_path / "out", "val")) == len(datasets.read("dota", tmp_path / "out", "train"))


def test_what_cannot_be_read_is_named_and_the_rest_is_kept(data: Path, tmp_path: Path) -> None:
    good = (data / "images" / "P2__a.png").read_bytes()
    (data / "images" / "P2__a.png").write_bytes(good[:-9000])
    label = (data / "labelTxt" / "P3.txt").read_text()
    (data / "labelTxt" / "P3.txt").write_text("1 2 3 ship\n")
    with pytest.raises(DatasetError) as error:
        split(data, tmp_path / "out", workers=2)
    message = str(error.value)
    assert message.startswith("2 images or annotations cannot be read:\n")
    assert "P2__a.png: expected a whole image" in message
    assert "P3.txt:1: expected 8 coordinates" in message
    assert message.endswith("give the command again: the 1 others are done and kept.")
    assert not (tmp_path / "out" / "labelTxt").exists()
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "images").glob("P1__*")}
    assert written
    (data / "images" / "P2__a.png").write_bytes(good)
    (data / "labelTxt" / "P3.txt").write_text(label)
    split(data, tmp_path / "out")
    assert all(path.stat().st_mtime_ns == then for path, then in written.items())
    split(data, tmp_path / "whole")
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_an_image_that_changed_since_it_was_done_is_done_again(data: Path, tmp_path: Path) -> None:
    bad = (data / "images" / "P3.png").read_bytes()
    (data / "images" / "P3.png").write_bytes(bad[:-5000])
    with pytest.raises(DatasetError, match=r"1 image or annotation cannot be read"):
        split(data, tmp_path / "out")
    Image.new("RGB", (64, 64), (1, 2, 3)).save(data / "images" / "P1.png")  # 20 windows fewer
    Image.new("RGB", (64, 64)).save(data / "images" / "P3.png")
    split(data, tmp_path / "out")
    split(data, tmp_path / "whole")
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_annotations_without_images(data: Path, tmp_path: Path) -> None:
    (data / "images" / "P1.png").unlink()
    summary = split(data, tmp_path / "out")
    assert (summary.images, summary.without_image) == (2, 1)
    shutil.rmtree(data / "images")
    with pytest.raises(DatasetError, match="nothing to split: none of the 3 annotations has an image"):
        split(data, tmp_path / "other")


def test_two_images_of_one_id(data: Path, tmp_path: Path) -> None:
    dataset = datasets.read("dota", data)
    twice = datasets.Dataset(dataset.class_names, [*dataset.sources, dataset.sources[0]], dataset.load)
    with pytest.raises(DatasetError, match=r"P1\.png: expected each image id once, got 'P1' again"):
        splitting.split(twice, tmp_path / "out", SMALL)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"size": 0}, "expected positive sizes"),
        ({"gap": 1024}, "expected a gap between windows from 0 to 1023"),
        ({"scales": (1.0, 1.0)}, "expected scales of different windows"),
        ({"iof_threshold": 2.0}, "expected an IoF threshold from 0 to 1, got 2.0"),
        ({"quality": 0}, "expected a JPEG quality from 1 to 100, got 0"),
        ({"min_image_share": -1.0}, "expected a share of image in a window"),
    ],
)
def test_settings_out_of_range(options: dict[str, object], message: str) -> None:
    with pytest.raises(FormatsError, match=message):
        SplitSettings(**options)  # type: ignore[arg-type]


def test_no_workers(data: Path, tmp_path: Path) -> None:
    with pytest.raises(FormatsError, match="expected one worker or more, got 0"):
        split(data, tmp_path / "out", workers=0)


RUN = """
import sys
from rbox_formats import datasets, splitting
if __name__ == "__main__":
    settings = splitting.SplitSettings(size=64, gap=16, scales=(0.5, 1.0))
    print("ready", flush=True)
    splitting.split(datasets.read("dota", sys.argv[1]), sys.argv[2], settings, workers=int(sys.argv[3]))
"""


def start(script: Path, data: Path, out: Path, workers: int) -> subprocess.Popen[bytes]:
    script.write_text(RUN)
    command = [sys.executable, str(script), str(data), str(out), str(workers)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


def wait_until(windows: int, out: Path, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None and sum(1 for _ in (out / "images").glob("*.png")) < windows:
        time.sleep(0.002)


def processes_of(session: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(int(path.parent.name))
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads Linux' /proc")
@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_killed_run_goes_on_to_the_same_bytes(workers: int, tmp_path: Path) -> None:
    data = make_dataset(tmp_path / "data", {f"P{i}": (300, 200) for i in range(8)})
    split(data, tmp_path / "whole")
    seen = []
    for windows in (40, 130):  # of 240
        process = start(tmp_path / "run.py", data, tmp_path / "out", workers)
        wait_until(windows, tmp_path / "out", process)
        process.kill()
        process.communicate()
        seen.append(len(list((tmp_path / "out").glob(".split/_/records/*.json"))))
        until = time.monotonic() + 10
        while left := processes_of(process.pid):  # the workers end with their parent
            assert time.monotonic() < until, left
            time.sleep(0.01)
    assert not (tmp_path / "out" / "labelTxt").exists(), "no run was killed: make the dataset larger"
    assert 0 < seen[-1] < 8
    assert seen == sorted(seen)
    split(data, tmp_path / "out", workers=workers)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads Linux' /proc")
@pytest.mark.slow
@pytest.mark.parametrize("workers", sampled([1, 2], [2]))
def test_an_interrupt_ends_all_processes(workers: int, tmp_path: Path) -> None:
    data = make_dataset(tmp_path / "data", {f"P{i}": (400, 300) for i in range(40)})
    process = start(tmp_path / "run.py", data, tmp_path / "out", workers)
    wait_until(20, tmp_path / "out", process)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal sends it, to all of them
    _, errors = process.communicate(timeout=30)
    assert process.returncode != 0
    assert errors.rstrip().endswith(b"KeyboardInterrupt")  # the parent's own: the command turns it into one word
    assert b"Spawn" not in errors  # as a worker's would name its process
    deadline = time.monotonic() + 10  # a process that has ended stays listed until it is collected
    while processes_of(process.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert processes_of(process.pid) == []
    assert not (tmp_path / "out" / "labelTxt").exists()


def end_abruptly(number: int) -> int:
    if number == 3:
        os._exit(9)
    return number


def test_a_worker_that_is_killed_is_an_error() -> None:
    with pytest.raises(FormatsError, match="a worker process was killed"):
        list(_workers.run(end_abruptly, ((i,) for i in range(9)), 2))


@pytest.mark.slow
def test_real_windows_score_as_their_images(tmp_path: Path) -> None:
    """DOTA's own images: each annotated object comes back at its place from some window."""
    if not EXAMPLE.is_dir():
        pytest.skip("DOTA's example is not there")
    summary = splitting.split(
        datasets.read("dota", EXAMPLE), tmp_path / "out", SplitSettings(scales=(0.5, 1.0, 1.5), gap=500)
    )
    assert (summary.images, summary.without_image) == (2, 3)
    sources = {record.image_id: record for record in datasets.read("dota", EXAMPLE) if record.path}
    back: dict[str, set[tuple[float, ...]]] = {image_id: set() for image_id in sources}
    for record in datasets.read("dota", tmp_path / "out"):
        image_id, window = tiling.parse_window_name(record.image_id, 1024)
        back[image_id] |= {
            tuple(quad) for quad in np.round(tiling.to_image(record.quads, window), 6).reshape(-1, 8).tolist()
        }
    for image_id, source in sources.items():
        annotated = {tuple(quad) for quad in np.round(source.quads, 6).reshape(-1, 8).tolist()}
        assert back[image_id] <= annotated
        assert len(annotated - back[image_id]) <= summary.unseen


def test_where_windows_are_is_noted(data: Path, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (record,) = [record for record in datasets.read("dota", data) if record.image_id == "P3"]
    (window, *_), unseen = splitting.split_image(record, SplitSettings(size=32, gap=0), tmp_path / "a", tmp_path / "b")
    assert window.metadata == {"source": "P3", "window": [0, 0, 32, 1.0]}
    assert Window(*window.metadata["window"]).corners == (0, 0, 32, 32)
    assert json.dumps(window.metadata)
    assert 0 <= unseen < len(record)
    assert list((tmp_path / "b").iterdir()) == []
    assert rbox_to_quad(window.boxes).shape == window.quads.shape
