"""Everything that reads files from outside, for `fuzz`: by name, with inputs that it makes itself."""

from __future__ import annotations

import json
import math
import pickle
import shutil
import zipfile
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rbox_formats import (
    ClassNames,
    ImageRecord,
    RboxError,
    codecs,
    datasets,
    images,
    predictions,
    sharding,
    splitting,
    ymir,
)
from rbox_formats.codecs import CODECS, Codec
from rbox_formats.datasets import FORMATS
from rbox_formats.executor import InferParameters
from rbox_formats.predictions import Header
from rbox_formats.sharding import Parts

from rbox_testing.fuzzing import Target
from rbox_testing.geopackages import geopackage, polygon
from rbox_testing.telling import join_all

NAMES = ClassNames(["ship", "small-vehicle"])
SIZE = (100, 80)
_IMAGES = (".png", ".jpg", ".bmp")


def records(names: ClassNames = NAMES, scored: bool = False) -> list[ImageRecord]:
    """Return two images with three objects each."""
    found = []
    for number in range(2):
        rng = np.random.default_rng(number)
        corners = np.array([[[10.0, 10.0], [50.0, 14.0], [48.0, 30.0], [9.0, 27.0]]]) + rng.uniform(0, 20, (3, 1, 2))
        labels = np.arange(3) % len(names)
        found.append(ImageRecord.from_quads(f"P{number}", corners, labels, width=SIZE[0], height=SIZE[1]))
    if scored:
        return [
            ImageRecord(each.image_id, each.boxes, each.labels, width=100, height=80, scores=SCORES) for each in found
        ]
    return found


SCORES = np.array([0.9, 0.5, 0.25])

# Datasets.


def write_dataset(name: str, folder: Path) -> list[Path]:
    """Write a dataset of two images in a format; give the files that are not images."""
    entry = FORMATS[name]
    names = entry.class_names or NAMES
    place = entry.images(folder, None) if entry.images else folder
    place.mkdir(parents=True, exist_ok=True)
    with_paths = []
    for record in records(names):
        path = place / f"{record.image_id}{'.bmp' if name.startswith('hrsc') else '.png'}"
        Image.new("RGB", SIZE).save(path)
        if name == "geojson-map":
            path.with_suffix(".pgw").write_text("0.5\n0\n0\n-0.5\n500000.25\n4982959.75\n")
        with_paths.append(
            ImageRecord(record.image_id, record.boxes, record.labels, record.quads, path=path, width=100, height=80)
        )
    datasets.write(name, with_paths, folder, None, names)
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix not in _IMAGES)


def _read_dataset(name: str, folder: Path) -> None:
    for record in datasets.read(name, folder):
        assert np.isfinite(record.boxes).all()
        assert record.path is None or record.path.resolve().is_relative_to(folder.resolve())


def _geopackage(folder: Path) -> list[Path]:
    """Return a layer beside an image with a world file."""
    write_dataset("geojson-map", folder)
    for path in folder.glob("*.geojson"):
        path.unlink()
    corners = [[500000 + x / 2, 4982960 - y / 2] for x, y in records()[0].corners[0].tolist()]
    return [geopackage(folder / "labels.gpkg", (polygon(corners), "ship"), (polygon(corners, ">", 1), "plane"))]


# Codecs.


def _variants() -> dict[str, Codec]:
    """Return every codec, with every form of text that its options choose."""
    options: list[tuple[str, dict[str, Any]]] = [
        *((name, {}) for name in CODECS),
        *(("florence2", {"version": version}) for version in (1, 3)),
        *(("rscovlm", {"shape": a, "style": b}) for a in ("quad", "obb", "hbb") for b in ("json", "plain")),
        *(("vrsbench", {"version": version}) for version in ("hbb", "obb_v2")),
        ("plain", {"decimals": 1}),
    ]
    return {" ".join([name, *map(str, given.values())]): codecs.get(name, **given) for name, given in options}


def _names_of(codec: Codec) -> ClassNames:
    return ClassNames(NAMES[:1]) if codec.one_class else NAMES


def _text(codec: Codec, folder: Path) -> list[Path]:
    record = records(_names_of(codec))[0]
    path = folder / "text.txt"
    path.write_text(codec.encode(record.shapes, record.labels, _names_of(codec), record.size), encoding="utf-8")
    return [path]


def _decode(codec: Codec, folder: Path) -> None:
    """Decode a text at once, and in a stream of chunks: both find the same."""
    written = (folder / "text.txt").read_bytes().decode(errors="surrogateescape")
    found = codec.decode(written, _names_of(codec), SIZE, on_invalid="ignore", near_match=0.8)
    assert len(found.boxes) == len(found.labels) == len(found.label_spans) == len(found.number_spans)
    assert np.isfinite(found.boxes).all()
    assert found.status in ("boxes", "truncated") or len(found.boxes) == 0
    stream = codec.stream(_names_of(codec), SIZE, near_match=0.8)
    for start in range(0, len(written), 7):
        stream.feed(written[start : start + 7])
    np.testing.assert_array_equal(stream.close().boxes, found.boxes)


# Detections.

HEADER = Header(NAMES, "sha256:0", {"name": "florence2", "version": 2}, {"num_beams": 1}, {"images": ["a"]})


def _jsonl(folder: Path) -> list[Path]:
    paths = [folder / "found.jsonl", folder / "part.jsonl"]
    for path, record in zip(paths, records(scored=True), strict=True):
        with predictions.Writer(path, HEADER) as writer:
            writer.write(record)
    return paths


def _part(folder: Path) -> list[Path]:
    whole, part = _jsonl(folder)
    (folder / "found.jsonl.parts").mkdir()
    return [whole, part.rename(folder / "found.jsonl.parts" / "part.jsonl")]


def _join(folder: Path) -> None:
    join_all(Parts(folder / "found.jsonl", HEADER))
    (folder / "found.jsonl.parts").mkdir()  # for the next input


def _manifest(folder: Path) -> list[Path]:
    sizes = {"a": (900, 500), "b": (1800, 500), "c": (90, 50)}
    found = [sharding.Located(name, folder / f"{name}.tif", size) for name, size in sizes.items()]
    manifest = sharding.make_manifest(found, window=200, shard_windows=4)
    return [sharding.write_manifest(folder / name, manifest) for name in ("archive.jsonl", "archive.parquet")]


def _read_manifests(folder: Path) -> None:
    errors = []
    for name in ("archive.jsonl", "archive.parquet"):
        try:
            sharding.read_manifest(folder / name)
        except RboxError as error:
            errors.append(error)
    if errors:
        raise errors[0]


def _stac(folder: Path) -> list[Path]:
    path = folder / "items.json"
    shape = {"proj:shape": [10980, 10980], "datetime": "2026-05-01T10:00:00Z"}
    assets = {"visual": {"href": "./a.tif", "type": "image/tiff", "roles": ["visual"]}, "thumbnail": {"href": "t.png"}}
    items = [{"type": "Feature", "id": name, "properties": shape, "assets": assets} for name in "ab"]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": items}))
    return [path]


def _parquet(folder: Path) -> list[Path]:
    predictions.write(folder / "found.parquet", HEADER, records(scored=True))
    return [folder / "found.parquet"]


def _go_on(folder: Path) -> None:
    with predictions.Writer(folder / "found.jsonl", HEADER) as writer:
        writer.write(ImageRecord("new", np.zeros((0, 5)), np.zeros(0, np.int64), width=9, height=9, scores=np.zeros(0)))


def _degrees(box: Any) -> list[float]:
    """Write COCO results with angles in degrees, counter-clockwise."""
    return [*box[:4].tolist(), -math.degrees(box[4])]


def _coco(folder: Path) -> list[Path]:
    entries = [
        {"image_id": record.image_id, "category_id": int(label), "bbox": _degrees(box), "score": float(score)}
        for record in records(scored=True)
        for label, box, score in zip(record.labels, record.boxes, record.scores, strict=True)
    ]
    (folder / "found.json").write_text(json.dumps(entries))
    return [folder / "found.json"]


def _task1(folder: Path) -> list[Path]:
    import rbox_metrics

    return [rbox_metrics.write_dota_submission(folder / "found.zip", records(scored=True), NAMES)]


def _shares(folder: Path) -> list[Path]:
    """Write label files as Ultralytics' predict save_txt save_conf does, with pixels, which need no image."""
    (folder / "found" / "labels").mkdir(parents=True)
    for record in records(scored=True):
        lines = [
            " ".join(map(str, [label, *corners.ravel(), score]))
            for label, corners, score in zip(record.labels, record.corners, record.scores, strict=True)
        ]
        (folder / "found" / "labels" / f"{record.image_id}.txt").write_text("\n".join(lines))
    return sorted((folder / "found" / "labels").iterdir())


def _unpacked(folder: Path) -> list[Path]:
    with zipfile.ZipFile(*_task1(folder)) as archive:
        archive.extractall(folder / "found")
    (folder / "found.zip").unlink()
    return sorted((folder / "found").iterdir())


def _read_found(name: str, folder: Path) -> None:
    import rbox_metrics

    for record in rbox_metrics.read_predictions(folder / name, class_names=NAMES):
        assert np.isfinite(record.boxes).all()


def _pickled(folder: Path) -> list[Path]:
    """Pickle results as MMRotate 0.x does."""
    by_class = [np.array([[50.0, 40, 20, 10, 0.3, 0.9]]), np.zeros((0, 6), np.float32)]
    (folder / "found.pkl").write_bytes(pickle.dumps([by_class, by_class], protocol=2))
    return [folder / "found.pkl"]


def _load_pickled(folder: Path) -> None:
    from rbox_baselines import load_results

    load_results(folder / "found.pkl", NAMES, image_ids=["a", "b"])


def _class_mapping(folder: Path) -> list[Path]:
    (folder / "classes.json").write_text(json.dumps({"ship": "vessel", "car": None}))
    return [folder / "classes.json"]


def _read_mapping(folder: Path) -> None:
    import rbox_metrics

    rbox_metrics.read_class_mapping(folder / "classes.json")


def _report(folder: Path) -> list[Path]:
    import rbox_metrics

    found = rbox_metrics.evaluate(records(), records(scored=True), NAMES, full=True)
    found.save(folder / "report.json")
    return [folder / "report.json"]


def _draw_report(folder: Path) -> None:
    import warnings

    from rbox_metrics.cli.plot import read_report
    from rbox_metrics.plots import figures

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # matplotlib's, about empty pictures
        figures({"a": read_report(folder / "report.json")})


# Images.


def _image(suffix: str, folder: Path) -> list[Path]:
    pixels = np.random.default_rng(0).integers(0, 255, (40, 50, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(pixels).save(folder / f"a{suffix}", **({} if suffix == ".bmp" else {"exif": exif}))
    return [folder / f"a{suffix}"]


def _read_image(suffix: str, folder: Path) -> None:
    """Read an image's size, and its pixels at once and by rows: they have the same size."""
    path = folder / f"a{suffix}"
    width, height = images.read_size(path)
    assert images.load(path).shape == (height, width, 3)
    with images.open_rows(path) as rows:
        assert rows.read(0, 1).shape == (1, width, 3)
    images.check(path)


# Settings, checkpoints and models.


def _settings(folder: Path) -> list[Path]:
    from lmm_detector import TrainConfig
    from lmm_detector._training import _config

    (folder / "settings.yaml").write_text(
        _config.to_yaml(TrainConfig(model_name_or_path="m", data_path=["d"], out="o"))
    )
    return [folder / "settings.yaml"]


def _read_settings(folder: Path) -> None:
    from lmm_detector._training import _config

    _config.load(folder / "settings.yaml", {})


def _platform(folder: Path) -> list[Path]:
    """Return what YMIR asks for."""
    (folder / "assets").mkdir()
    Image.new("RGB", SIZE).save(folder / "assets" / "a.png")
    paths = [folder / name for name in ("env.yaml", "config.yaml", "candidate-index.tsv")]
    texts = (
        f"task_id: t1\nprotocol_version: 1.1.0\nrun_infer: true\ninput: {{root_dir: {folder}, assets_dir: assets}}\n",
        "class_names: [ship, plane]\ngpu_id: '0,1'\nmodel_params_path: [best/a.pth]\nconf_threshold: 0.1\n",
        f"{folder}/assets/a.png\n",
    )
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text)
    return paths


def _read_platform(folder: Path) -> None:
    env = ymir.read_env(folder / "env.yaml")
    assert env.input.assets_dir.is_relative_to(env.input.root_dir)
    ymir.fill(InferParameters, ymir.read_config(env))
    assert all(path.is_file() for path in ymir.read_candidates(env).values())


def _tiny_model(folder: Path) -> list[Path]:
    from lmm_detector._spec import DetectorSpec

    from rbox_testing.tiny_families import save_tiny

    codec = codecs.get("qwen2.5-vl")
    save_tiny("qwen2_5_vl", folder / "model", NAMES, codec)
    DetectorSpec(NAMES, codec.to_dict(), codec.question(NAMES), 64, 16).save(folder / "model")
    return sorted(path for path in (folder / "model").iterdir() if path.suffix in (".json", ".jinja", ".safetensors"))


def _load_model(folder: Path) -> None:
    from lmm_detector import Detector

    Detector.from_pretrained(folder / "model", device="cpu").family.prompt_tokens("?")


def _adapters(folder: Path) -> list[Path]:
    from lmm_detector import _families
    from lmm_detector._families import Preparation

    _tiny_model(folder)
    preparation = Preparation(str(folder / "model"))
    family, _ = _families.prepare(preparation)
    (folder / "adapters").mkdir()
    _families.with_adapters(family, preparation, _families.Adapters(2), trained=["projection"]).save(
        folder / "adapters"
    )
    shutil.copy(folder / "model" / "detector.json", folder / "adapters")
    return [folder / "adapters" / name for name in ("adapter_config.json", "base.json", "adapter_model.safetensors")]


def _load_adapters(folder: Path) -> None:
    from lmm_detector import Detector

    Detector.from_pretrained(folder / "adapters", device="cpu")


@cache
def _retinanet() -> bytes:
    """Return a small Rotated RetinaNet with random weights, as mmengine saves it."""
    import io

    import torch
    from rbox_baselines import load_config
    from rbox_baselines._configs._weights import without_pretrained

    from rbox_testing.small_retinanet import SMALL, ZOO_NAME

    config = load_config(ZOO_NAME, image_size=64, options=SMALL)
    from mmdet.registry import MODELS

    model = MODELS.build(without_pretrained(config).model)
    text = "\n".join(f"{name} = {value!r}" for name, value in config.to_dict().items())
    classes = tuple(f"class {number}" for number in range(15))
    content = io.BytesIO()
    torch.save({"meta": {"cfg": text, "dataset_meta": {"classes": classes}}, "state_dict": model.state_dict()}, content)
    return content.getvalue()


def _checkpoint(folder: Path) -> list[Path]:
    (folder / "a.pth").write_bytes(_retinanet())
    return [folder / "a.pth"]


def _load_checkpoint(folder: Path) -> None:
    from rbox_baselines import Detector

    Detector.from_checkpoint(folder / "a.pth", device="cpu")


def _stored_config(folder: Path) -> list[Path]:
    import io

    import torch

    text = torch.load(io.BytesIO(_retinanet()), weights_only=True)["meta"]["cfg"]
    (folder / "config.txt").write_text(text)
    return [folder / "config.txt"]


def _build_stored(folder: Path) -> None:
    """Build a model from a checkpoint's config, up to the model."""
    import io

    import torch
    from rbox_baselines import Detector

    saved = torch.load(io.BytesIO(_retinanet()), weights_only=True)
    saved["meta"]["cfg"] = (folder / "config.txt").read_bytes().decode(errors="replace")
    torch.save(saved, folder / "a.pth")
    Detector.from_checkpoint(folder / "a.pth", device="cpu")


def _log(folder: Path) -> list[Path]:
    """Write a log as mmengine does."""
    steps = [
        {"lr": 0.1, "loss": 2.5 - step / 10, "time": 0.2, "epoch": 1, "iter": step, "step": step}
        for step in range(1, 6)
    ]
    lines = [*steps, {"rbox/map": 0.5, "step": 1}]
    path = folder / "20260101_000000" / "vis_data" / "scalars.json"
    path.parent.mkdir(parents=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return [path]


def _read_log(folder: Path) -> None:
    from rbox_baselines._tools._logs import read_log

    read_log(folder)


def _split(folder: Path) -> list[Path]:
    (folder / "in").mkdir()
    write_dataset("dota", folder / "in")
    _again(folder)
    return sorted(path for path in (folder / "out").rglob("*") if path.is_file() and path.suffix not in _IMAGES)


def _again(folder: Path) -> None:
    """Resume the file."""
    settings = splitting.SplitSettings(size=64, gap=16)
    splitting.split(datasets.read("dota", folder / "in"), folder / "out", settings)


def targets() -> dict[str, Target]:
    """Return all of them, by name."""
    return {
        **{
            f"reader {name}": Target(partial(write_dataset, name), partial(_read_dataset, name))
            for name, entry in FORMATS.items()
            if entry.read
        },
        "reader geopackage": Target(_geopackage, partial(_read_dataset, "geojson-map")),
        **{
            f"codec {name}": Target(partial(_text, codec), partial(_decode, codec))
            for name, codec in _variants().items()
        },
        "predictions read": Target(_jsonl, lambda folder: list(predictions.read(folder / "found.jsonl"))),
        "predictions parquet": Target(_parquet, lambda folder: list(predictions.stream(folder / "found.parquet"))),
        "predictions go on": Target(_jsonl, _go_on),  # words: go on
        "predictions join": Target(_part, _join),
        "manifest": Target(_manifest, _read_manifests),
        "stac": Target(_stac, lambda folder: sharding.read_stac(folder / "items.json")),
        "results coco": Target(_coco, partial(_read_found, "found.json")),
        "results task1": Target(_unpacked, partial(_read_found, "found")),
        "results ultralytics": Target(_shares, partial(_read_found, "found")),
        "results zip": Target(_task1, partial(_read_found, "found.zip")),
        "results pickle": Target(_pickled, _load_pickled),
        "class mapping": Target(_class_mapping, _read_mapping),
        "report": Target(_report, _draw_report, share=20),
        **{
            f"image {suffix}": Target(partial(_image, suffix), partial(_read_image, suffix))
            for suffix in (".png", ".jpg", ".tif", ".bmp", ".webp", ".jp2")
        },
        "training log": Target(_log, _read_log),
        "split": Target(_split, _again, share=10),
        "platform": Target(_platform, _read_platform),
        "settings": Target(_settings, _read_settings, share=2),
        "model": Target(_tiny_model, _load_model, share=20),
        "adapters": Target(_adapters, _load_adapters, share=20),
        "checkpoint": Target(_checkpoint, _load_checkpoint, share=20),
        "stored config": Target(_stored_config, _build_stored, share=20),
    }
