"""Images on other machines: fsspec's memory, and a web server that may be simple, slow, gone or a liar."""

from __future__ import annotations

import hashlib
import json
import struct
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from rbox_formats.cli.main import main
from rbox_formats.errors import FormatsError, ImageError, ManifestError, RboxError
from rbox_formats.sharding import (
    Located,
    Manifest,
    Parts,
    detect_parts,
    find_scenes,
    make_manifest,
    read_manifest,
    read_stac,
    read_windows,
    write_manifest,
)
from rbox_testing.telling import HEADER, Telling, together

fsspec = pytest.importorskip("fsspec")

# The second is divided among shards; the third has its header at its end.
SIZES = {"a.png": (20, 14), "b.png": (50, 38), "c.tif": (26, 20), "d.jpg": (14, 8)}


class Seeing(Telling):
    """Steps whose results tell which pixels each window has."""

    def detect(self, windows: Any, **options: Any) -> list[Any]:
        told = super().detect(windows, **options)
        seen = [int(hashlib.sha256(window.pixels.tobytes()).hexdigest()[:6], 16) / 16**6 for window in windows]
        return [None if one is None else (score, one[1]) for one, score in zip(told, seen, strict=True)]


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    folder = tmp_path / "scenes"
    folder.mkdir()
    pixels = np.random.default_rng(0)
    for name, (width, height) in SIZES.items():
        image = Image.fromarray(pixels.integers(0, 255, (height, width, 3), dtype=np.uint8))
        image.save(folder / name, **({"compression": "tiff_lzw"} if name == "c.tif" else {}))
    assert (folder / "c.tif").read_bytes()[4:8] != struct.pack("<I", 8)  # or it tells nothing
    return folder


@pytest.fixture
def memory(scenes: Path) -> Iterator[str]:
    filesystem = fsspec.filesystem("memory")
    for path in scenes.iterdir():
        filesystem.pipe(f"/archive/{path.name}", path.read_bytes())
    yield "memory://archive/"
    filesystem.store.clear()


@pytest.fixture(autouse=True)
def _no_pauses_and_nothing_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    copies = tmp_path / "copies"
    copies.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(copies))
    monkeypatch.setattr("rbox_formats.sharding._remote.PAUSES", (0.0, 0.0, 0.0))
    yield
    assert not list(copies.iterdir())


@dataclass
class Served:
    """What a web server does.

    Attributes:
        folder: Its files.
        ranges: Whether it sends parts of files.
        length: Whether it says how long they are.
        failures: How often it fails before it answers.
        status: With which status it fails; 0: it hangs up.
        headers: What else it says.
        body: What it sends instead of a file, again and again, for ever.
        gets: The files that were asked for, and how much of each was sent.
    """

    folder: Path
    ranges: bool = True
    length: bool = True
    failures: int = 0
    status: int = 503
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    gets: list[tuple[str, int]] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def web(scenes: Path) -> Iterator[Served]:
    pytest.importorskip("aiohttp")
    served = Served(scenes)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the name that the server calls
            name = self.path.partition("?")[0].rpartition("/")[2]
            if served.failures:
                served.failures -= 1
                if served.status:
                    self.send_response(served.status)
                    for header in served.headers.items():
                        self.send_header(*header)
                    self.end_headers()
                return
            if not (served.folder / name).is_file():
                self.send_error(404)
                return
            data, asked = (served.folder / name).read_bytes(), self.headers.get("Range")
            total = len(data)
            is_part = served.ranges and asked is not None
            if is_part:
                first, last = asked.removeprefix("bytes=").split("-")
                data = data[int(first) : int(last) + 1 if last else None]
            self.send_response(206 if is_part else 200)
            if is_part:
                self.send_header("Content-Range", f"bytes {first}-{int(first) + len(data) - 1}/{total}")
            if served.length and not (served.body and self.command == "GET"):
                self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command != "GET":
                return
            served.gets.append((name, len(data)))
            try:
                while served.body:
                    self.wfile.write(served.body)
                self.wfile.write(data)
            except OSError:  # the client has had enough
                self.close_connection = True

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *words: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    served.url = f"http://127.0.0.1:{server.server_port}/scenes"
    yield served
    server.shutdown()
    server.server_close()


def predict(manifest: Manifest, out: Path, **options: Any) -> tuple[bytes, dict[str, str]]:
    """What a run writes, and what it found to be broken."""
    parts = Parts(out, HEADER)
    plan = manifest.plan(pad_whole=False)
    outcome = detect_parts(Seeing(), parts.left(plan), parts, **options)
    parts.join(plan, together, **options)
    return out.read_bytes(), outcome.broken


def made(found: Any) -> Manifest:
    return make_manifest(found, window=8, gap=2, shard_windows=12)


@pytest.fixture
def here(scenes: Path, tmp_path: Path) -> bytes:
    """What a run writes whose images are files."""
    return predict(made(sorted(scenes.iterdir())), tmp_path / "here.jsonl")[0]


def urls(web: Served) -> list[str]:
    return [f"{web.url}/{name}" for name in SIZES]


def test_an_object_store_gives_the_bytes_of_files(memory: str, here: bytes, scenes: Path, tmp_path: Path) -> None:
    """From the command to the predictions, with the manifest written and read."""
    out = tmp_path / "archive.jsonl"
    words = ["--window", "8", "--gap", "2", "--shard-windows", "12", "--out", str(out)]
    done = CliRunner().invoke(main, ["shards", *words, memory])
    assert done.exit_code == 0, done.output
    assert json.loads(out.read_text().splitlines()[1])["images"][0]["path"] == "memory://archive/a.png"
    assert "divides 4 images" in done.output
    with pytest.raises(ManifestError, match=r"archive\.jsonl: .*on memory://archive\nNothing .* give --remote"):
        read_manifest(out)
    manifest = read_manifest(out, remote=True)
    assert manifest.files == {}
    assert len(manifest.plan()) > 3
    assert predict(manifest, tmp_path / "there.jsonl") == (here, {})
    (scene, *_) = manifest.scenes()
    (local, *_) = made([scenes / "a.png"]).scenes()
    pairs = zip(scene.crops(), local.crops(), strict=True)
    assert all(a == b and np.array_equal(one, other) for (a, one), (b, other) in pairs)


@pytest.mark.parametrize("ranges, length", [(True, True), (False, True), (False, False)])
def test_a_web_server_gives_the_bytes_of_files(
    ranges: bool, length: bool, web: Served, here: bytes, scenes: Path, tmp_path: Path
) -> None:
    web.ranges, web.length = ranges, length
    manifest = made(urls(web))
    assert [size for *_, size in manifest.images] == list(SIZES.values())
    web.gets.clear()
    assert predict(manifest, tmp_path / "there.jsonl") == (here, {})
    # Each image is sent once, the one of several shards too.
    assert web.gets == [(name, (scenes / name).stat().st_size) for name in SIZES]


def test_of_a_large_image_the_header_is_read(web: Served) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (1500, 1500, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(web.folder / "large.tif", compression="tiff_lzw")
    exif = Image.Exif()
    exif[0x112] = 6
    for name in ("large.png", "large.jpg"):
        Image.fromarray(pixels[:, :1000]).save(web.folder / name, exif=exif)
    for name, size in [("large.tif", (1500, 1500)), ("large.png", (1500, 1000)), ("large.jpg", (1500, 1000))]:
        web.gets.clear()
        assert made([f"{web.url}/{name}"]).images[0][2] == size
        assert sum(count for _, count in web.gets) < (web.folder / name).stat().st_size / 2
        web.ranges = False
        assert made([f"{web.url}/{name}"]).images[0][2] == size
        web.ranges = True


def test_what_fails_for_a_while_is_tried_again(web: Served, here: bytes, tmp_path: Path) -> None:
    manifest = made(urls(web))
    for failures, status in [(3, 503), (2, 429), (3, 0)]:
        web.failures, web.status = failures, status
        assert predict(manifest, tmp_path / f"{status}.jsonl") == (here, {})
        web.failures = 2
        assert made(urls(web)) == manifest


@pytest.mark.parametrize("status, failures", [(503, 4), (401, 1), (403, 1), (0, 40)])
def test_an_image_that_cannot_be_reached_is_not_left_out(
    status: int, failures: int, web: Served, here: bytes, tmp_path: Path
) -> None:
    """It is not broken: the run ends, and the same command goes on with what is left."""
    manifest = made([f"{url}?sig=secret" for url in urls(web)])
    web.failures, web.status = failures, status
    with pytest.raises(FormatsError, match="What is done stays") as raised:
        predict(manifest, tmp_path / "found.jsonl", skip_broken=True)
    assert not isinstance(raised.value, ImageError)
    assert "secret" not in str(raised.value)
    assert not status or web.failures == 0  # a client may try again by itself where a server hangs up
    web.failures = 0
    assert predict(manifest, tmp_path / "found.jsonl", skip_broken=True) == (here, {})
    web.failures = 40
    with pytest.raises(FormatsError) as raised:
        made([f"{web.url}/a.png?sig=secret"])
    assert not isinstance(raised.value, ImageError)
    assert "secret" not in str(raised.value)


def test_images_that_are_broken_gone_or_others_are_named(web: Served, tmp_path: Path) -> None:
    manifest = made(urls(web))
    (web.folder / "a.png").unlink()
    whole = (web.folder / "b.png").read_bytes()
    (web.folder / "b.png").write_bytes(whole[: len(whole) // 2])
    Image.new("RGB", (26, 21)).save(web.folder / "c.tif")
    with pytest.raises(ImageError, match=r"127\.0\.0\.1:\d+/scenes/a\.png: expected an image, found no file"):
        predict(manifest, tmp_path / "found.jsonl")
    written, broken = predict(manifest, tmp_path / "found.jsonl", skip_broken=True)
    assert [json.loads(line)["image_id"] for line in written.splitlines()[1:]] == ["d"]
    assert broken.keys() == {"a", "b", "c"}
    assert broken["b"].startswith(f"{web.url}/b.png: expected a whole image")
    assert broken["c"].startswith(f"{web.url}/c.tif: expected an image of 26x20, as the manifest says, got 26x21")
    with pytest.raises(ImageError, match="found no file"):
        made([f"{web.url}/a.png"])
    (web.folder / "a.png").write_text("no image")
    with pytest.raises(ImageError, match=r"scenes/a\.png: expected a whole image"):
        made([f"{web.url}/a.png"])


def test_a_server_that_sends_for_ever(web: Served, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    manifest = made(urls(web))
    web.body = bytes(2**20)
    for name in ("_HEADER_BYTES", "_LONGEST"):
        monkeypatch.setattr(f"rbox_formats.sharding._remote.{name}", 2**22)
    with pytest.raises(ImageError, match=r"expected an image file of at most 4,212,224 bytes, got a longer one"):
        predict(manifest, tmp_path / "found.jsonl")
    web.length = False
    with pytest.raises(ImageError, match=r"expected an image file of at most 4,194,304 bytes"):
        made(urls(web)[:1])


@pytest.mark.parametrize("status", [301, 302, 307])
def test_other_hosts_are_not_asked(status: int, web: Served, tmp_path: Path) -> None:
    """Named with another name: the machine is the same, and would answer."""
    manifest = made(urls(web))
    web.status, web.failures = status, 1
    web.headers = {"Location": web.url.replace("127.0.0.1", "localhost") + "/a.png"}
    with pytest.raises(ManifestError, match=r"a\.png: expected an image, got sent on to 'http://localhost:\d+'"):
        predict(manifest, tmp_path / "found.jsonl", skip_broken=True)
    web.failures = 2
    with pytest.raises(ManifestError, match="got sent on to"):
        made(urls(web)[:1])
    web.headers["Location"] = "/other/a.png"
    web.failures = 1
    assert made(urls(web)[:1]).images == manifest.images[:1]
    assert web.failures == 0


BAD = [
    ("file:///etc/passwd", "Give its path"),
    ("zip://a.tif::https://host/a.zip", "expected an address"),
    ("simplecache::https://host/a.tif", "expected an address"),
    ("filecache://x::s3://bucket/a.tif", "expected an address"),
    ("local:///etc/passwd", "got one of 'local'"),
    ("ftp://host/a.tif", "got one of 'ftp'"),
    ("https://me:secret@host/a.tif", r"without a password, got one on '\.\.\.host'"),
    ("s3://key:secret/7@bucket/a.tif", r"without a password, got one on 'key\.\.\.'"),
    ("https:///a.tif", "without a password, got one on ''"),
    ("https://host/a\n.tif", "expected an address"),
]


@pytest.mark.parametrize("url, message", BAD)
def test_addresses_that_are_not_read(url: str, message: str, scenes: Path, tmp_path: Path) -> None:
    """Wherever they stand, and with --remote."""
    path = write_manifest(tmp_path / "archive.jsonl", made([scenes / "a.png"]))
    lines = path.read_text()
    path.write_text(lines.replace("scenes/a.png", json.dumps(url)[1:-1]))
    assert path.read_text() != lines
    listing = tmp_path / "list.txt"
    listing.write_text(f"https://host/b.tif\n{url}\n")
    item = {"type": "Feature", "id": "a", "assets": {"image": {"href": url, "proj:shape": [9, 9]}}}
    stac = tmp_path / "items.json"
    stac.write_text(json.dumps(item))
    ways: list[Callable[[], Any]] = [lambda: made([url]), lambda: read_manifest(path, remote=True)]
    ways.append(lambda: read_stac(stac, remote=True))
    ways += [lambda: find_scenes(str(listing), remote=True), lambda: find_scenes(url)] if "\n" not in url else []
    for way in ways:
        with pytest.raises(RboxError, match=message) as raised:
            way()
        assert "secret" not in str(raised.value)


def test_nothing_is_asked_for_that_no_user_named(web: Served, tmp_path: Path) -> None:
    listing = tmp_path / "list.txt"
    listing.write_text("# two\n" + "\n".join(urls(web)[:2]))
    item = {"type": "Feature", "id": "S2A", "assets": {"image": {"href": urls(web)[0], "proj:shape": [14, 20]}}}
    stac = tmp_path / "items.json"
    stac.write_text(json.dumps(item))
    for source in (stac, listing):
        out = str(tmp_path / "archive.jsonl")
        done = CliRunner().invoke(main, ["shards", "--out", out, str(source)])
        assert done.exit_code == 1
        assert f"got addresses on {web.url.removesuffix('/scenes')}\nNothing is fetched unasked" in done.output
        assert web.gets == []
        done = CliRunner().invoke(main, ["shards", "--out", out, "--remote", str(source)])
        assert done.exit_code == 0, done.output
    assert read_stac(stac, remote=True) == [Located("S2A", urls(web)[0], (20, 14))]
    assert {name for name, _ in web.gets} == {"a.png", "b.png"}  # of the item the size was known


def test_names_and_folders(memory: str) -> None:
    assert find_scenes(["memory://archive/*.png", memory]) == [
        f"memory://archive/{name}" for name in ("a.png", "b.png", "c.tif", "d.jpg")
    ]
    with pytest.raises(ManifestError, match="found none at 'memory://archive/x\\*"):
        find_scenes("memory://archive/x*.png")
    with pytest.raises(ImageError, match="found no file"):
        find_scenes("memory://nowhere/")
    with pytest.raises(ManifestError, match="got a folder: 'https://host/scenes/'"):
        find_scenes("https://host/scenes/")
    fsspec.filesystem("memory").pipe("/b/my scene%20.png", fsspec.filesystem("memory").cat("/archive/a.png"))
    assert made(["memory://b/my scene%20.png"]).images[0][0] == "my scene%20"
    with pytest.raises(FormatsError, match="two of 'a"):
        made(["memory://archive/a.png", Located("a", "memory://archive/a.png", None)]).plan()


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")  # of what places a raster on the map
def test_a_tiff_of_bands_that_pillow_does_not_read(memory: str, scenes: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    place = rasterio.transform.from_origin(500000, 5600000, 10, 10)
    shape = {"width": 31, "height": 17, "count": 5, "dtype": "uint16"}
    with rasterio.open(scenes / "bands.tif", "w", driver="GTiff", crs="EPSG:32631", transform=place, **shape):
        pass
    fsspec.filesystem("memory").pipe("/archive/bands.tif", (scenes / "bands.tif").read_bytes())
    assert made([f"{memory}bands.tif"]).images[0][2] == (31, 17)


def test_a_name_in_a_web_address_is_decoded(web: Served) -> None:
    (web.folder / "a.png").rename(web.folder / "P 1.v2%2Fx.png")
    assert made([f"{web.url}/b.png?x=1"]).images[0][0] == "b"
    with pytest.raises(FormatsError, match="plain file name"):
        made([f"{web.url}/P%201.v2%2Fx.png"])


def test_a_full_disk_is_no_broken_image(memory: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    manifest = made(find_scenes(memory))

    class Full:
        def write(self, chunk: bytes) -> None:
            raise OSError(28, "No space left on device")

    written = Path.open

    def opened(path: Path, mode: str = "r", *rest: Any, **more: Any) -> Any:
        file = written(path, mode, *rest, **more)
        if path.name.startswith("image.") and mode == "wb":
            file.close()
            return _entered(Full())
        return file

    monkeypatch.setattr(Path, "open", opened)
    with pytest.raises(FormatsError, match="expected room for a copy of an image, got: No space left") as raised:
        predict(manifest, tmp_path / "found.jsonl", skip_broken=True)
    assert not isinstance(raised.value, ImageError)


def _entered(value: Any) -> Any:
    from contextlib import nullcontext

    return nullcontext(value)


def test_without_what_fsspec_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    def filesystem(protocol: str, **options: Any) -> Any:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec, "filesystem", filesystem)
    with pytest.raises(FormatsError, match=r"Install s3fs to access S3\nInstall what .* 'fsspec\[s3\]'"):
        made(["s3://bucket/a.tif"])


def test_options_that_do_not_go_together(tmp_path: Path) -> None:
    from click import UsageError
    from rbox_formats.cli import Division, Extras

    with pytest.raises(UsageError, match="--remote goes with --shards"):
        Division(None, None, "local", None, 1, remote=True).check(["a.png"], None)
    with pytest.raises(UsageError, match="do not go with --remote"):
        Extras(tmp_path / "pictures", None, None, remote=True).check([])


def test_readers_of_one_shard_hold_its_pieces(memory: str) -> None:
    for shard in made(find_scenes(memory)).plan():
        counted = Counter(read.piece for read in read_windows(shard))
        assert counted == {piece: len(piece.numbers) for piece in shard.pieces}
