from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from rbox_formats import ClassNames, datasets, images
from rbox_formats._geometry import canonical_le90, rbox_to_quad
from rbox_formats.errors import FormatsError
from rbox_formats.synthetic import CLASS_NAMES, TINY, VARIED, WINTER, SceneConfig, scene, write_scenes
from rbox_formats.synthetic._ground import draw_ground
from rbox_formats.synthetic._layout import place_clutter, place_objects
from rbox_formats.synthetic._look import seen
from rbox_formats.synthetic._objects import KINDS, KNOWN_CLASSES
from rbox_formats.synthetic._painting import paint
from shapely.geometry import Polygon
from shapely.ops import unary_union

TANK = CLASS_NAMES.index("storage-tank")


def is_cut(quads, size):
    return ((quads < 0) | (quads > size)).any(axis=(1, 2))


def is_touching(shapes):
    """For each object but the first, whether it touches an earlier one."""
    return [any(shape.distance(other) < 1e-6 for other in shapes[:i]) for i, shape in enumerate(shapes) if i]


def laid_out(seed, config):
    """The ground and the objects of a scene: most of the time goes into painting them."""
    ground_rng, layout_rng, _ = np.random.default_rng(seed).spawn(3)
    ground = draw_ground(ground_rng, config)
    return ground, place_objects(layout_rng, config, ground.water)


def quads_of(objects):
    return np.array([rbox_to_quad(item.box) for item in objects]).reshape(-1, 4, 2)


def painted(seed, ground, objects, hidden):
    """The scene as it is painted, but for the body of one object, whose shadow stays."""
    _, _, grain_rng = np.random.default_rng(seed).spawn(3)
    return paint(ground, objects, [item for i, item in enumerate(objects) if i != hidden], grain_rng)


def in_box_frame(mask, box, angle):
    """The extents along and across of a mask's pixel middles, from the box's middle, written out by hand."""
    y, x = np.nonzero(mask)
    dx, dy = x + 0.5 - box[0], y + 0.5 - box[1]
    along, across = dx * math.cos(angle) + dy * math.sin(angle), dy * math.cos(angle) - dx * math.sin(angle)
    return np.array([along.min(), along.max(), across.min(), across.max()])


@pytest.mark.parametrize(
    "config, seeds",
    [
        (TINY, range(12)),
        pytest.param(TINY, range(30), marks=pytest.mark.slow),
        pytest.param(SceneConfig(max_objects=6), range(12), marks=pytest.mark.slow),
    ],
)
def test_the_drawn_pixels_fill_the_box(config, seeds):
    errors, mirrored, labels = [], [], []
    for seed in seeds:
        image, record = scene(seed, config)
        ground, objects = laid_out(seed, config)
        np.testing.assert_array_equal(image, painted(seed, ground, objects, hidden=None))
        np.testing.assert_array_equal(record.quads, quads_of(objects))
        np.testing.assert_array_equal(record.labels, [item.label for item in objects])
        for i in np.flatnonzero(~is_cut(record.quads, config.size)):
            mask = np.abs(image.astype(int) - painted(seed, ground, objects, hidden=i)).max(axis=2) > 3
            box = record.boxes[i]
            expected = np.array([-box[2], box[2], -box[3], box[3]]) / 2
            errors.append(in_box_frame(mask, box, box[4]) - expected)
            mirrored.append(in_box_frame(mask, box, -box[4]) - expected)
            labels.append(record.labels[i])
    errors, labels = np.array(errors), np.array(labels)
    assert set(labels) == set(range(len(CLASS_NAMES)))
    # The middle of a pixel that is touched lies within 0.71 px of what touches it; colours like the ground's hide some.
    assert np.abs(errors).max() < 1.0
    # No kind is drawn too large, too small or off its middle.
    for label in range(len(CLASS_NAMES)):
        assert np.abs(errors[labels == label].mean(axis=0)).max() < 0.6
    assert np.abs(mirrored).max() > 5  # a wrong sign of the angle would have been seen


@pytest.mark.parametrize("label", range(len(KINDS)))
def test_every_kind_is_drawn_to_the_four_sides_of_its_unit_square(label):
    for seed in range(20):
        parts = KINDS[label].parts(np.random.default_rng(seed))
        points = np.concatenate([part.points for part in parts])
        np.testing.assert_allclose(points.min(axis=0), -1, atol=1e-12)
        np.testing.assert_allclose(points.max(axis=0), 1, atol=1e-12)


def test_same_seed_same_bytes():
    for config in (TINY, SceneConfig()):
        (image, record), (again, record_again) = scene(7, config), scene(7, config)
        assert image.tobytes() == again.tobytes()
        assert record.boxes.tobytes() == record_again.boxes.tobytes()
        assert record.labels.tolist() == record_again.labels.tolist()
    assert not np.array_equal(scene(7)[0], scene(8)[0])


@pytest.mark.parametrize(
    "config, seeds",
    [(TINY, 8), (SceneConfig(), 2), (SceneConfig(400, 30, 40, 0.02, 0.1), 1)],
    ids=["96", "256", "400"],
)
def test_records_are_canonical_and_as_asked(config, seeds):
    for seed in range(seeds):
        image, record = scene(seed, config)
        assert image.shape == (config.size, config.size, 3)
        assert image.dtype == np.uint8
        assert (record.width, record.height) == (config.size, config.size)
        assert record.image_id == f"scene_{seed:04d}"
        assert config.min_objects <= len(record) <= config.max_objects
        np.testing.assert_allclose(canonical_le90(record.boxes), record.boxes, atol=1e-12)
        assert np.all(record.boxes[:, 2] >= record.boxes[:, 3])
        assert np.all((record.boxes[:, 4] >= -np.pi / 2) & (record.boxes[:, 4] < np.pi / 2))
        np.testing.assert_array_equal(record.quads, rbox_to_quad(record.boxes))
        assert np.all((record.boxes[:, :2] > 0) & (record.boxes[:, :2] < config.size))
        scales = record.boxes[:, 2] / config.size
        assert np.all((scales >= config.min_scale - 1e-9) & (scales <= config.max_scale + 1e-9))
        tanks = record.boxes[record.labels == TANK]
        assert np.all(tanks[:, 4] == 0)
        np.testing.assert_allclose(tanks[:, 2], tanks[:, 3], rtol=1e-12)


@pytest.mark.slow
def test_masks_are_the_pixels_that_objects_cover_by_half():
    """Against shapely's areas of what the parts of an object, united, leave of each pixel."""
    config = replace(VARIED, min_objects=3, masks=True)
    image, record = scene(12, config)
    assert (image == scene(12, replace(config, masks=False))[0]).all()
    assert record.masks is not None
    ground_rng, layout_rng, _, look_rng, _ = np.random.default_rng(12).spawn(5)
    zoom = config.zooms[look_rng.integers(len(config.zooms))]
    zoomed = replace(config, min_scale=zoom * config.min_scale, max_scale=zoom * config.max_scale, zooms=(1.0,))
    objects = place_objects(layout_rng, zoomed, draw_ground(ground_rng, zoomed).water)
    assert len(objects) == len(record) >= 3
    for item, mask in zip(objects, record.masks, strict=True):
        outline = unary_union([Polygon(item.to_image(part.points)).buffer(0) for part in item.parts])
        covered = np.array([[outline.intersection(square(x, y)).area for x in range(96)] for y in range(96)])
        wrong = mask.to_array(96, 96) != (covered >= 0.5)
        assert (np.abs(covered[wrong] - 0.5) < 0.25).all()  # six samples a side, with whole ones at the corners
        assert wrong.sum() < 0.1 * covered.sum()


def square(x: int, y: int) -> Polygon:
    return Polygon([(x, y), (x + 1, y), (x + 1, y + 1), (x, y + 1)])


def test_ships_float_and_nothing_else_does():
    afloat = []
    for seed in range(10):
        ground, objects = laid_out(seed, SceneConfig())
        for item in objects:
            x, y = item.centre.astype(int)
            assert ground.water[y, x] == (item.label == CLASS_NAMES.index("ship"))
            afloat.append(ground.water[y, x])
    assert 0 < sum(afloat) < len(afloat)


@pytest.mark.slow
def test_objects_touch_and_are_cut_as_often_as_asked_and_never_overlap():
    config = SceneConfig(256, 10, 10, 0.04, 0.1, touching=0.4, cut=0.2)
    touching, cut = [], []
    for seed in range(40):
        quads = quads_of(laid_out(seed, config)[1])
        shapes = [Polygon(quad) for quad in quads]
        touching += is_touching(shapes)
        cut += is_cut(quads, config.size).tolist()
        for i, shape in enumerate(shapes):
            assert all(shape.intersection(other).area < 1e-3 for other in shapes[:i])
    # Four standard deviations of 360 and 400 throws; a few objects find no room beside another.
    assert 0.4 - 0.12 < np.mean(touching) < 0.4 + 0.105
    assert 0.2 - 0.08 < np.mean(cut) < 0.2 + 0.08


def test_without_chances_nothing_touches_and_nothing_is_cut():
    config = SceneConfig(256, 8, 8, 0.05, 0.15, touching=0.0, cut=0.0)
    for seed in range(6):
        quads = quads_of(laid_out(seed, config)[1])
        assert not is_cut(quads, config.size).any()
        shapes = [Polygon(quad) for quad in quads]
        assert all(shape.distance(other) > 1.9 for i, shape in enumerate(shapes) for other in shapes[:i])


def test_what_the_border_cuts_off_is_part_of_the_object():
    config = SceneConfig(160, 1, 1, 0.2, 0.4, touching=0.0, cut=1.0)
    for seed in range(20):
        _, (item,) = laid_out(seed, config)
        drawn = item.to_image(np.concatenate([part.points for part in item.parts]))
        assert np.any((drawn < -1) | (drawn > config.size + 1))


def test_the_classes_asked_for_are_drawn():
    names = ClassNames(["large-vehicle", "storage-tank"])
    config = replace(TINY, class_names=names)
    labels, aspects = [], []
    for seed in range(20):
        record = scene(seed, config)[1]
        labels += record.labels.tolist()
        aspects += (record.boxes[:, 3] / record.boxes[:, 2]).tolist()
    labels, aspects = np.array(labels), np.array(aspects)
    assert set(labels) == {0, 1}
    assert np.all((aspects[labels == 0] > 0.19) & (aspects[labels == 0] < 0.27))  # long and narrow
    np.testing.assert_allclose(aspects[labels == 1], 1.0)


def test_the_pixels_of_a_large_vehicle_fill_its_box():
    config = replace(TINY, min_objects=1, max_objects=1, cut=0.0, class_names=ClassNames(["large-vehicle"]))
    errors = []
    for seed in range(12):
        ground, objects = laid_out(seed, config)
        image, record = scene(seed, config)
        np.testing.assert_array_equal(image, painted(seed, ground, objects, hidden=None))
        for box in record.boxes:
            mask = np.abs(image.astype(int) - painted(seed, ground, objects, hidden=0)).max(axis=2) > 3
            errors.append(in_box_frame(mask, box, box[4]) - np.array([-box[2], box[2], -box[3], box[3]]) / 2)
    assert len(errors) > 6
    assert np.abs(errors).max() < 1.0
    assert np.abs(np.mean(errors, axis=0)).max() < 0.6


@pytest.mark.slow
def test_each_scene_is_seen_at_one_of_the_zooms():
    config = SceneConfig(256, 4, 8, 0.1, 0.11, zooms=(0.5, 1.0, 3.0))
    found = set()
    for seed in range(12):
        shares = scene(seed, config)[1].boxes[:, 2] / 256
        zoom = min(config.zooms, key=lambda value: abs(shares[0] - 0.105 * value))
        assert np.all((shares > 0.1 * zoom - 1e-9) & (shares < 0.11 * zoom + 1e-9))
        found.add(zoom)
    assert found == set(config.zooms)


def test_clutter_is_no_object_and_touches_none():
    config = SceneConfig(160, 3, 5, 0.12, 0.3, clutter=6)
    things = 0
    for seed in range(4):
        image, record = scene(seed, config)
        plain, bare = scene(seed, replace(config, clutter=0))
        np.testing.assert_array_equal(record.boxes, bare.boxes)
        np.testing.assert_array_equal(record.labels, bare.labels)
        ground, objects = laid_out(seed, config)
        clutter = place_clutter(np.random.default_rng(seed).spawn(5)[4], config, ground.water, objects)
        assert len(clutter) <= 6
        assert np.array_equal(image, plain) == (not clutter)
        assert all(thing.label >= len(KNOWN_CLASSES) for thing in clutter)
        shapes = [Polygon(quad) for quad in quads_of([*objects, *clutter])]
        for i in range(len(objects), len(shapes)):
            assert all(shapes[i].distance(other) > 1.9 for other in shapes[:i])
        things += len(clutter)
    assert things > 7


@pytest.mark.slow
def test_looks_differ_and_nothing_moves():
    config = replace(VARIED, min_objects=1, variety=0.0)
    brightness = {0.0: [], 1.0: []}
    for seed in range(25):
        for variety, means in brightness.items():
            image, record = scene(seed, replace(config, variety=variety))
            means.append(image.mean())
            np.testing.assert_array_equal(record.boxes, scene(seed, config)[1].boxes)
    changes = np.array(brightness[1.0]) / brightness[0.0]
    assert changes.min() < 0.9
    assert changes.max() > 1.1
    # A white spot in the dark stays where it was, whatever blur and noise do to it.
    spot = np.full((33, 33, 3), 40, np.uint8)
    spot[16, 16] = 255
    for seed in range(20):
        changed = seen(spot, np.random.default_rng(seed), 1.0).astype(float).sum(axis=2)
        assert np.unravel_index(changed.argmax(), changed.shape) == (16, 16)
    assert seen(spot, np.random.default_rng(0), 0.0) is spot


def test_winter_is_the_same_place_in_snow_and_ice():
    config = SceneConfig(96, 0, 3)
    white = {"summer": [], "winter": []}
    for seed in range(10):
        records = []
        for season, shares in white.items():
            image, record = scene(seed, replace(config, season=season))
            shares.append(np.mean(image.min(axis=2) > 190))
            records.append(record)
        np.testing.assert_array_equal(records[0].boxes, records[1].boxes)
        np.testing.assert_array_equal(records[0].labels, records[1].labels)
    assert np.mean(white["winter"]) > np.mean(white["summer"]) + 0.2


def test_the_other_domain_has_a_class_more_and_reads_back(tmp_path):
    written = write_scenes(tmp_path, "train", range(12), WINTER)
    assert WINTER.class_names == (*CLASS_NAMES, "large-vehicle")
    assert set(np.concatenate([record.labels for record in written])) == set(range(5))
    found = datasets.read("dota", tmp_path, "train", WINTER.class_names)
    for ours, theirs in zip(found, written, strict=True):
        np.testing.assert_array_equal(ours.labels, theirs.labels)
        np.testing.assert_allclose(ours.corners, theirs.quads, atol=1e-9)


@pytest.mark.slow
def test_varied_scenes_are_sometimes_empty_and_never_overfull():
    counts = [len(scene(seed, VARIED)[1]) for seed in range(40)]
    assert min(counts) == 0
    assert max(counts) == 5


def test_no_objects():
    image, record = scene(3, SceneConfig(64, 0, 0), image_id="bare")
    assert image.shape == (64, 64, 3)
    assert image.std() > 1  # the ground is textured all the same
    assert record.image_id == "bare"
    assert record.boxes.shape == (0, 5)
    assert record.quads.shape == (0, 4, 2)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    "change",
    [
        {"size": 16},
        {"min_objects": 5, "max_objects": 4},
        {"min_objects": -1},
        {"min_scale": 0.0},
        {"min_scale": 0.4, "max_scale": 0.3},
        {"max_scale": 0.9},
        {"touching": 0.8, "cut": 0.3},
        {"cut": -0.1},
        {"zooms": ()},
        {"zooms": (1.0, 0.0)},
        {"zooms": (1.0, 2.1)},
        {"clutter": -1},
        {"variety": 1.5},
        {"season": "spring"},
        {"class_names": ()},
        {"class_names": ("plane", "bicycle")},
    ],
)
def test_wrong_configurations(change):
    with pytest.raises(FormatsError, match="expected"):
        SceneConfig(**change)


def test_negative_seed():
    with pytest.raises(FormatsError, match="seed of at least 0, got -1"):
        scene(-1)


@pytest.mark.parametrize("format", ["dota", "coco"])
def test_a_dataset_of_scenes_reads_back(format, tmp_path):
    written = write_scenes(tmp_path, "train", range(2), TINY, format=format)
    found = datasets.read(format, tmp_path, "train", CLASS_NAMES)
    assert [record.image_id for record in found] == [record.image_id for record in written]
    for seed, (ours, theirs) in enumerate(zip(found, written, strict=True)):
        np.testing.assert_array_equal(ours.labels, theirs.labels)
        np.testing.assert_allclose(ours.corners, theirs.quads, atol=1e-9)
        np.testing.assert_array_equal(images.load(ours.file), scene(seed, TINY)[0])


def test_a_format_without_images_is_refused(tmp_path, monkeypatch):
    monkeypatch.setitem(datasets.FORMATS, "out-only", datasets.Format(None, datasets.dota.write))
    with pytest.raises(FormatsError, match="expected a format that says where images are, got 'out-only'"):
        write_scenes(tmp_path, None, [1], TINY, format="out-only")
    assert not list(tmp_path.iterdir())
