"""Which images come first, by formulas worked by hand and by detectors made for it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from rbox_formats import ClassNames, ImageRecord, canonical_le90, predictions, rbox_to_quad
from rbox_formats.detection import Prediction
from rbox_metrics import MetricsError
from rbox_metrics.cli.main import main
from rbox_metrics.mining import ALGORITHMS, Describing, Ranked, mine, order_of, rank_file, rank_images, write_ranking

NAMES = ClassNames(["ship", "plane"])
BOX = [40.0, 30, 20, 10, 0.3]


def image(*objects: tuple[float, int], name: str = "a", box: Sequence[float] = BOX) -> ImageRecord:
    scores, labels = [score for score, _ in objects], [label for _, label in objects]
    boxes = [[box[0] + 30 * place, *box[1:]] for place in range(len(objects))]
    return ImageRecord(name, np.array(boxes).reshape(-1, 5), labels, scores=scores)


def test_entropy_is_that_of_ymir_mmrotate() -> None:
    # sum(-p log2 p) over the detections above the threshold; 0 without any.
    scores = rank_images([image((0.5, 0), (0.25, 0), (0.1, 0)), image(), image((1.0, 0))], "entropy")
    assert scores.tolist() == [1.0, 0.0, 0.0]
    assert rank_images([image((np.exp(-1), 0))], "entropy")[0] == pytest.approx(0.5307, abs=1e-4)


@pytest.mark.parametrize(
    "algorithm, expected",
    [
        ("entropy-image", [1.0, 0.0, (1 + 0.8112781 + 0.8112781) / 3]),
        ("entropy-class", [1.0, 0.0, (1 + 0.8112781) / 2 + 0.8112781]),
        ("margin", [1.0, 0.0, (1 + 0.5 + 0.5) / 3]),
        ("least-confidence", [0.5, 0.0, (0.5 + 0.25 + 0.75) / 3]),
    ],
)
def test_others(algorithm: str, expected: list[float]) -> None:
    images = [image((0.5, 0), (0.5, 0)), image(), image((0.5, 0), (0.75, 0), (0.25, 1))]
    np.testing.assert_allclose(rank_images(images, algorithm), expected, atol=1e-6)


def test_random_has_a_seed() -> None:
    images = [image()] * 9
    assert rank_images(images, "random", seed=1).tolist() == rank_images(images, "random", seed=1).tolist()
    assert rank_images(images, "random", seed=1).tolist() != rank_images(images, "random", seed=2).tolist()


def test_objects_that_stay_agree_and_others_do_not() -> None:
    still, weaker = image((0.9, 0)), image((0.4, 0))
    turned = image((0.9, 0), box=[40, 30, 20, 10, 0.3 + np.pi / 2])
    other = image((0.9, 1))
    pairs = [(still, still), (still, weaker), (still, turned), (still, other), (still, image()), (image(), image())]
    scores = rank_images([one for one, _ in pairs], "aldd", views=[[two for _, two in pairs]])
    assert scores[0] == scores[5] == 0
    assert 0 < scores[1] < scores[2] < scores[3]
    assert scores[3] == pytest.approx(scores[4])
    # Worked by hand: 0.9 beside 0.4, and back: (p - q)(logit p - logit q) = 0.5 (2.1972 + 0.4055).
    assert scores[1] == pytest.approx(0.5 * 2.6027, abs=1e-3)
    # What is turned by a right angle about its centre has a third of the union in common.
    p, q = 0.9, 0.9 / 3
    assert scores[2] == pytest.approx((p - q) * (np.log(p / (1 - p)) - np.log(q / (1 - q))), abs=1e-6)


def test_consistencies_near_the_base_point_come_first() -> None:
    still, empty = image((0.9, 0)), image()
    third = image((0.9, 0), box=[40, 30, 20, 10, 0.3 + np.pi / 2])
    scores = rank_images([still, still, still, empty], "cald", views=[[still, third, empty, empty]])
    # IoU 1 and 1/3, scores alike: 1.9 and 1.2333, of which 1.3 is the base point.
    np.testing.assert_allclose(scores, [1 - 0.6 / 1.3, 1 - (1.3 - 1 / 3 - 0.9) / 1.3, 0.0, 0.0], atol=1e-6)


def test_k_center_covers_what_is_there() -> None:
    features = np.array([[0.0, 0], [0.1, 0], [10, 0], [0, 10], [10.1, 0]])
    scores = rank_images([image()] * 5, "diversity", features=features)
    first_three = set(order_of(scores)[:3].tolist())
    assert len(first_three & {0, 1}) == 1
    assert len(first_three & {2, 4}) == 1
    assert 3 in first_three
    assert sorted(scores.tolist()) == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    labelled = rank_images([image()] * 5, "diversity", features=features, labelled=[[10, 0], [0, 10]])
    assert order_of(labelled)[0] in (0, 1)
    # Without features, what was detected describes an image.
    images = [image((0.9, 0)), image((0.9, 0)), image((0.9, 1), (0.9, 1), (0.8, 1))]
    assert 2 in order_of(rank_images(images, "diversity"))[:2]


def test_what_is_refused() -> None:
    with pytest.raises(MetricsError, match=r"among random, entropy.*, got 'entropie'"):
        rank_images([image()], "entropie")
    with pytest.raises(MetricsError, match="expected other looks"):
        rank_images([image()], "cald")
    with pytest.raises(MetricsError, match=r"expected 2 images in each view, got 1"):
        rank_images([image(), image()], "cald", views=[[image()]])
    with pytest.raises(MetricsError, match=r"expected features \(1, D\)"):
        rank_images([image()], "diversity", features=[[np.nan]])


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_no_images_and_images_without_objects(algorithm: str) -> None:
    assert rank_images([], algorithm, views=[[]]).shape == (0,)
    scores = rank_images([image()] * 3, algorithm, views=[[image()] * 3])
    assert scores.shape == (3,)
    assert np.isfinite(scores).all()


class Finder:
    """A detector of one bright rectangle per image, whose faults are known: it sees no rectangle of a tall image."""

    class_names = NAMES

    def __init__(self, *, blind_to_tall: bool = False) -> None:
        self.blind_to_tall = blind_to_tall
        self.seen = 0

    def _found(self, pixels: np.ndarray, name: str) -> Prediction:
        self.seen += 1
        height, width = pixels.shape[:2]
        points = np.argwhere(pixels[..., 0] > 128)[:, ::-1] + 0.5
        if not len(points) or (self.blind_to_tall and height > width):
            return Prediction(name, np.zeros((0, 5)), [], scores=[], class_names=NAMES)
        centre = points.mean(axis=0)
        values, axes = np.linalg.eigh(np.cov((points - centre).T))
        angle = np.arctan2(axes[1, 1], axes[0, 1])
        sides = np.sqrt(12 * values)
        box = canonical_le90(np.array([[*centre, sides[1], sides[0], angle]]))
        return Prediction(name, box, [0], scores=[0.9], class_names=NAMES)

    def detect(self, crops: Any) -> Any:
        return [self._found(crop, "crop") for crop in crops]

    def predict(self, images: Any, **options: Any) -> Any:
        if isinstance(images, np.ndarray):
            return self._found(images, "image")
        return (self._found(np.asarray(Image.open(path).convert("RGB")), Path(path).stem) for path in images)

    __call__ = predict


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    import cv2

    paths = []
    for place, angle in enumerate((0.0, 0.4, 1.1)):
        pixels = np.zeros((60, 100, 3), dtype=np.uint8)
        corners = rbox_to_quad(np.array([[40 + 8 * place, 28, 30, 12, angle]]))[0]
        cv2.fillPoly(pixels, [corners.round().astype(np.int32)], (255, 255, 255))
        paths.append(tmp_path / f"{place}.png")
        Image.fromarray(pixels).save(paths[-1])
    return paths


def test_boxes_of_other_looks_are_turned_back(pictures: list[Path]) -> None:
    """A detector that sees the same wherever it looks from agrees with itself; one that is blind to some does not."""
    shares: list[float] = []
    detector = Finder()
    scores = mine(detector, pictures, "aldd", progress=shares.append)
    assert detector.seen == 4 * len(pictures)
    assert scores.max() < 0.2
    assert mine(Finder(blind_to_tall=True), pictures, "aldd").min() > 2
    assert shares == pytest.approx([1 / 3, 2 / 3, 1])


def test_what_a_detector_is_asked_for(pictures: list[Path]) -> None:
    detector = Finder()
    assert len(mine(detector, pictures, "random")) == 3
    assert detector.seen == 0
    assert mine(detector, pictures, "entropy").tolist() == pytest.approx([-0.9 * np.log2(0.9)] * 3)
    assert detector.seen == 3
    assert mine(detector, [], "entropy").shape == (0,)


def test_a_detector_may_describe_images(pictures: list[Path]) -> None:
    class Describes(Finder):
        def features(self, crops: Any) -> np.ndarray:
            return np.array([[crop.mean(), len(crop)] for crop in crops])

    detector = Describes()
    assert isinstance(detector, Describing)
    assert not isinstance(Finder(), Describing)
    scores = mine(detector, pictures, "diversity", labelled=pictures[:1])
    assert detector.seen == 0
    assert order_of(scores)[-1] == 0  # it is labelled


@pytest.fixture
def found(tmp_path: Path) -> Path:
    path = tmp_path / "found.jsonl"
    with predictions.Writer(path, predictions.Header(NAMES, "sha256:0")) as writer:
        for name, score in (("a", 0.98), ("b", 0.5), ("c", 0.7)):
            writer.write(image((score, 0), name=name))
    return path


def test_the_command(found: Path, tmp_path: Path) -> None:
    done = tmp_path / "done.txt"
    done.write_text("c\n")
    out = tmp_path / "next.csv"
    words = ["rank-images", "--predictions", str(found), "--labelled", str(done), "--out", str(out)]
    result = CliRunner().invoke(main, words, catch_exceptions=False)
    assert result.output == f"The ranking of 2 images by entropy is in {out}.\n"
    lines = out.read_text().splitlines()
    assert lines[:2] == ["image_id,score", "b,0.5"]
    assert lines[2].startswith("a,0.028")
    result = CliRunner().invoke(main, [*words[:3], "--out", str(tmp_path / "next.xml")])
    assert (result.exit_code, "expected a file ending in .csv, .json, .txt" in result.output) == (1, True)


def test_ranking_by_files(found: Path, tmp_path: Path) -> None:
    assert [each.image_id for each in rank_file(found, "margin", limit=2)] == ["b", "c"]
    assert rank_file(found, "aldd", others=[found])[0].score == 0
    np.savez(tmp_path / "features.npz", image_ids=["a", "b", "c"], features=[[0.0], [1], [5]])
    ranking = rank_file(found, "diversity", features=tmp_path / "features.npz", labelled=["a"])
    assert [each.image_id for each in ranking] == ["c", "b"]
    with pytest.raises(MetricsError, match="got none of 'z'"):
        rank_file(found, "diversity", features=tmp_path / "features.npz", labelled=["z"])
    np.savez(tmp_path / "pickled.npz", image_ids=np.array(["a", None], dtype=object), features=[[0.0], [1]])
    with pytest.raises(MetricsError, match=r"expected a \.npz file"):
        rank_file(found, "diversity", features=tmp_path / "pickled.npz")
    path = write_ranking(tmp_path / "next.json", [Ranked("a", 0.5)])
    assert json.loads(path.read_text()) == [{"image_id": "a", "score": 0.5}]
    assert write_ranking(tmp_path / "next.txt", [Ranked("a", 0.5)]).read_text() == "a\n"
