"""What each codec writes of known boxes, worked by hand from the facts about its format."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from rbox_formats import ClassNames, codecs, rbox_to_hbox

# In an image of 1000 x 500 px: upright from (260, 180) to (340, 220); turned by 30 degrees clockwise, with the corners
# (569.20, 253.35), (655.80, 303.35), (630.80, 346.65), (544.20, 296.65); cut by the right border, from (970, 480) to
# (1010, 500). In thousandths of the sides: x as it is, y doubled.
SIZE = (1000, 500)
BOXES = np.array([[300.0, 200, 80, 40, 0], [600, 300, 100, 50, math.radians(30)], [990, 490, 40, 20, 0]])
NAMES = ClassNames(["ship", "small-vehicle"])


def locs(*bins: int) -> str:
    return "".join(f"<loc_{b}>" for b in bins)


FLOORED = (
    (260, 360, 260, 440, 340, 440, 340, 360),
    (569, 506, 544, 593, 630, 693, 655, 606),
    (970, 960, 970, 999, 999, 999, 999, 960),
)
FIRST, SECOND, THIRD = (locs(*bins) for bins in FLOORED)
ALLSEEING = (
    "<ref>ship</ref><box>[[260, 360, 260, 440, 340, 440, 340, 360], [569, 506, 544, 593, 630, 693, 655, 606]]</box>"
    "<ref>small vehicle</ref><box>[[970, 960, 970, 999, 999, 999, 999, 960]]</box>"
)
OBJECTS = "<|object_ref_start|>{}<|object_ref_end|>"


def fenced(key: str, *rows: str) -> str:
    labels = ("ship", "ship", "small-vehicle")
    objects = [f'\t{{"{key}": [{row}], "label": "{label}"}}' for row, label in zip(rows, labels, strict=True)]
    return "```json\n[\n" + ",\n".join(objects) + "\n]\n```"


WRITTEN: list[tuple[str, dict[str, Any], str]] = [
    # Floored, kept within 0..999, counter-clockwise on the screen from the topmost corner.
    ("florence2", {"version": 1}, f"ship{FIRST}{SECOND}small vehicle{THIRD}"),
    ("florence2", {"version": 2}, f"ship{FIRST}<sep>{SECOND}small vehicle{THIRD}"),
    ("florence2", {"version": 3}, f"ship{FIRST}<sep>{SECOND}small vehicle{THIRD}"),
    ("allseeing", {"empty": False}, ALLSEEING),
    ("allseeing", {"empty": True}, ALLSEEING),
    # Pixels, cut off, where they are.
    (
        "rscovlm",
        {"shape": "quad"},
        fenced(
            "quadrant bbox",
            "260, 180, 340, 180, 340, 220, 260, 220",
            "569, 253, 655, 303, 630, 346, 544, 296",
            "970, 480, 1010, 480, 1010, 500, 970, 500",
        ),
    ),
    (
        "rscovlm",
        {"shape": "quad", "clockwise": False},
        fenced(
            "quadrant bbox",
            "260, 180, 260, 220, 340, 220, 340, 180",
            "569, 253, 544, 296, 630, 346, 655, 303",
            "970, 480, 970, 500, 1010, 500, 1010, 480",
        ),
    ),
    (
        "rscovlm",
        {"shape": "quad", "style": "plain"},
        "260,180,340,180,340,220,260,220 ship\n569,253,655,303,630,346,544,296 ship\n"
        "970,480,1010,480,1010,500,970,500 small-vehicle",
    ),
    (
        "rscovlm",
        {"shape": "obb"},
        fenced("oriented bbox", "300, 200, 80, 40, 0", "600, 300, 100, 50, 30", "990, 490, 40, 20, 0"),
    ),
    (
        "rscovlm",
        {"shape": "obb", "style": "plain"},
        "300,200,80,40,0 ship\n600,300,100,50,30 ship\n990,490,40,20,0 small-vehicle",
    ),
    (
        "rscovlm",
        {"shape": "hbb"},
        fenced("bbox_2d", "260, 180, 340, 220", "544, 253, 655, 346", "970, 480, 1010, 500"),
    ),
    (
        "rscovlm",
        {"shape": "hbb", "style": "plain"},
        "260,180,340,220 ship\n544,253,655,346 ship\n970,480,1010,500 small-vehicle",
    ),
    # Hundredths of the sides. Upright boxes are in (0, 90] as 40 wide, 80 high, turned by 90 degrees. 30 degrees
    # clockwise are 60 counter-clockwise of the box whose w is the short side; 57.5 and 62.5 go to the even 58 and 62.
    (
        "geochat",
        {"clockwise": False},
        "<p>ship</p> {<28><32><32><48>|<90>}<delim>{<58><50><62><70>|<60>} "
        "<p>small-vehicle</p> {<98><94><100><102>|<90>}",
    ),
    (
        "geochat",
        {"clockwise": True},
        "<p>ship</p> {<28><32><32><48>|<90>}<delim>{<55><55><65><65>|<30>} "
        "<p>small-vehicle</p> {<98><94><100><102>|<90>}",
    ),
    ("earthdial", {}, "[[28, 32, 32, 48, 90]][[58, 50, 62, 70, 60]][[98, 94, 100, 102, 90]]"),
    (
        "skysensegpt",
        {},
        "There are 3 ships in the image:<rbox>({<30.00><40.00><4.00><16.00>|<90>}, "
        "{<60.00><60.00><10.00><10.00>|<30>}, {<99.00><98.00><2.00><8.00>|<90>})</rbox>",
    ),
    ("vrsbench", {"version": "hbb"}, "{<26><36><34><44>}{<54><50><65><69>}{<97><96><101><100>}"),
    ("vrsbench", {"version": "obb_v1"}, "{<30><40><8><8>|<0>}{<60><60><10><10>|<-30>}{<99><98><4><4>|<0>}"),
    ("vrsbench", {"version": "obb_v2"}, "{<26><36><34><44>|<0>}{<55><55><65><65>|<-30>}{<97><96><101><100>|<0>}"),
    # Thousandths, to the nearest, kept within 0..1000, counter-clockwise.
    (
        "falcon",
        {},
        "<quad><260><360><260><440><340><440><340><360></quad><quad><569><507><544><593><631><693><656><607></quad>"
        "<quad><970><960><970><1000><1000><1000><1000><960></quad>",
    ),
    ("plain", {"decimals": 0}, "ship[300,200,80,40,0][600,300,100,50,30];small-vehicle[990,490,40,20,0]"),
    (
        "plain",
        {"decimals": 1},
        "ship[300.0,200.0,80.0,40.0,0][600.0,300.0,100.0,50.0,30];small-vehicle[990.0,490.0,40.0,20.0,0]",
    ),
    # The upright box around the turned one is from (544.20, 253.35) to (655.80, 346.65).
    (
        "qwen2-vl",
        {},
        f"{OBJECTS.format('ship')}<|box_start|>(260,360),(340,440)<|box_end|><|box_start|>(544,507),(656,693)"
        f"<|box_end|>{OBJECTS.format('small-vehicle')}<|box_start|>(970,960),(1000,1000)<|box_end|>",
    ),
    ("qwen2.5-vl", {}, fenced("bbox_2d", "260, 180, 340, 220", "544, 253, 656, 347", "970, 480, 999, 499")),
    ("qwen3-vl", {}, fenced("bbox_2d", "260, 360, 340, 440", "544, 507, 656, 693", "970, 960, 1000, 1000")),
    (
        "internvl",
        {},
        "<ref>ship</ref><box>[[260, 360, 340, 440], [544, 507, 656, 693]]</box>"
        "<ref>small-vehicle</ref><box>[[970, 960, 1000, 1000]]</box>",
    ),
    (  # 0.36 * 1023 = 368.28, 0.26 * 1023 = 265.98, 0.44 * 1023 = 450.12, 0.34 * 1023 = 347.82, and so on
        "paligemma",
        {},
        "<loc0368><loc0266><loc0450><loc0348> ship ; <loc0518><loc0557><loc0709><loc0671> ship ; "
        "<loc0982><loc0992><loc1023><loc1023> small-vehicle",
    ),
    (  # column 8 of row 11, column 10 of row 14; 17 of 16, 20 of 22; 31 of 30, 31 of 31
        "kosmos2",
        {},
        "<phrase>ship</phrase><object><patch_index_0360><patch_index_0458></delimiter_of_multi_objects/>"
        "<patch_index_0529><patch_index_0724></object>"
        "<phrase>small-vehicle</phrase><object><patch_index_0991><patch_index_1023></object>",
    ),
    ("cogvlm", {}, "ship [[260,360,340,440;544,507,656,693]] small-vehicle [[970,960,999,999]]"),
    (
        "gemini",
        {},
        '[{"box_2d": [360, 260, 440, 340], "label": "ship"}, {"box_2d": [507, 544, 693, 656], "label": "ship"}, '
        '{"box_2d": [960, 970, 1000, 1000], "label": "small-vehicle"}]',
    ),
    (  # 0.26 * 999 = 259.74, 0.36 * 999 = 359.64, and so on; the border itself is 999
        "rex-omni",
        {},
        f"{OBJECTS.format('ship')}<|box_start|><259><359><339><439>, <543><506><655><692><|box_end|>, "
        f"{OBJECTS.format('small-vehicle')}<|box_start|><969><959><999><999><|box_end|>",
    ),
    ("shikra", {}, "ship[0.260,0.360,0.340,0.440;0.544,0.507,0.656,0.693] small-vehicle[0.970,0.960,1.000,1.000]"),
    ("teochat", {}, "[26, 36, 34, 44], [54, 51, 66, 69], [97, 96, 100, 100]"),
]


@pytest.mark.parametrize("name, options, text", WRITTEN, ids=lambda value: value if str(value) in codecs.CODECS else "")
def test_three_boxes(name: str, options: dict[str, Any], text: str) -> None:
    codec = codecs.get(name, **options)
    labels = np.zeros(3, dtype=np.int64) if codec.one_class else np.array([0, 0, 1])
    names = ClassNames(["ship"]) if codec.one_class else NAMES
    assert codec.encode(BOXES, labels, names, SIZE) == text


def test_every_codec_is_here(options: dict[str, dict[str, tuple[Any, ...]]]) -> None:
    assert {name for name, _, _ in WRITTEN} == set(options) == set(codecs.CODECS)


@pytest.mark.parametrize(
    "name, options, empty",
    [
        ("florence2", {"version": 1}, None),
        ("florence2", {"version": 2}, None),
        ("florence2", {"version": 3}, "There are none."),
        ("allseeing", {"empty": False}, None),
        ("allseeing", {"empty": True}, "There are none."),
        ("rscovlm", {}, "There are none."),
        ("rscovlm", {"style": "plain"}, "There are none."),
        ("geochat", {}, None),
        ("earthdial", {}, None),
        (
            "skysensegpt",
            {},
            "I'm sorry, I cannot answer as the given image does not contain any given objects.",
        ),
        ("vrsbench", {}, None),
        ("falcon", {}, None),
        ("plain", {}, "none"),
        ("qwen2-vl", {}, None),
        ("qwen2.5-vl", {}, "```json\n[]\n```"),
        ("qwen3-vl", {}, "```json\n[]\n```"),
        ("internvl", {}, None),
        ("paligemma", {}, None),
        ("kosmos2", {}, None),
        ("cogvlm", {}, None),
        ("gemini", {}, "[]"),
        ("rex-omni", {}, "None"),
        ("shikra", {}, None),
        ("teochat", {}, None),
    ],
)
def test_an_image_without_objects(name: str, options: dict[str, Any], empty: str | None) -> None:
    codec = codecs.get(name, **options)
    assert codec.empty_answer == empty
    written = codec.encode(np.zeros((0, 5)), np.zeros(0, dtype=np.int64), ClassNames(["ship"]), SIZE)
    assert written == (empty or "")
    decoded = codec.decode(written, ClassNames(["ship"]), SIZE, on_invalid="raise")
    assert decoded.status == "empty"


# Options of the codecs' own.


def test_twenty_boxes_are_listed_and_all_are_counted() -> None:
    codec = codecs.get("skysensegpt")
    boxes = np.array([[500.0, 20 + 20 * i, 30, 10, 0] for i in range(23)])
    labels = np.zeros(23, dtype=np.int64)
    text = codec.encode(boxes, labels, ClassNames(["ship"]), (1000, 1000))
    assert text.startswith("There are 23 ships in the image:<rbox>({<50.00><2.00>")
    assert text.endswith("})</rbox>, and due to the context length, the remaining objects are not listed.")
    assert codec.order(boxes, labels, ClassNames(["ship"]), (1000, 1000)).tolist() == list(range(20))
    decoded = codec.decode(text, ClassNames(["ship"]), (1000, 1000), on_invalid="raise")
    assert (len(decoded.labels), decoded.status) == (20, "boxes")
    assert codec.encode(boxes[:20], labels[:20], ClassNames(["ship"]), (1000, 1000)).endswith("})</rbox>")


def test_skysensegpt_spells_names_its_own_way() -> None:
    text = codecs.get("skysensegpt").encode(BOXES[:1], np.array([0]), ClassNames(["Large-Vehicle"]), SIZE)
    assert text.startswith("There are 1 large_vehicles in the image:")


@pytest.mark.parametrize(
    "name, options, text",
    [
        # The model sees the image at half its width and a quarter of its height.
        ("qwen2.5-vl", {}, '```json\n[\n\t{"bbox_2d": [130, 45, 170, 55], "label": "ship"}\n]\n```'),
        ("rscovlm", {"shape": "hbb", "style": "plain"}, "130,45,170,55 ship"),
        ("rscovlm", {"style": "plain"}, "130,45,170,45,170,55,130,55 ship"),
        ("rscovlm", {"style": "plain", "shape": "obb"}, "150,50,40,10,0 ship"),
    ],
)
def test_pixels_are_those_of_what_the_model_sees(name: str, options: dict[str, Any], text: str) -> None:
    codec = codecs.get(name, **options)
    names = ClassNames(["ship"])
    assert codec.encode(BOXES[:1], np.array([0]), names, SIZE, input_size=(500, 125)) == text
    decoded = codec.decode(text, names, SIZE, input_size=(500, 125), on_invalid="raise")
    np.testing.assert_allclose(rbox_to_hbox(decoded.boxes), [[260, 180, 340, 220]])


def test_clamped_to_the_last_pixel_of_the_input() -> None:
    codec = codecs.get("qwen2.5-vl")
    box = np.array([[500.0, 250, 1200, 600, 0]])
    text = codec.encode(box, np.array([0]), ClassNames(["ship"]), SIZE, input_size=(504, 252))
    assert '"bbox_2d": [0, 0, 503, 251]' in text


def test_others_do_not_ask_what_the_model_sees(codec: codecs.Codec, names: ClassNames, scene: Any) -> None:
    boxes, labels = scene
    written = [codec.encode(boxes, labels, names, SIZE, input_size=size) for size in (None, (280, 140))]
    in_pixels = codec.name in ("rscovlm", "qwen2.5-vl")
    assert (written[0] == written[1]) is not in_pixels
    decoded = codec.decode(written[1], names, SIZE, input_size=(280, 140), on_invalid="raise")
    assert decoded.labels.tolist() == labels[codec.order(boxes, labels, names, SIZE)].tolist()


@pytest.mark.parametrize(
    "name, options, order",
    [
        # By class with capitals first, then by the row and the column of the first corner.
        ("florence2", {}, [3, 1, 0, 2]),
        # By class whatever its case, then by the upper and the left end.
        ("rscovlm", {"shape": "hbb"}, [1, 0, 2, 3]),
        ("qwen2-vl", {}, [1, 0, 2, 3]),
        # By class, then by the left end.
        ("rex-omni", {}, [0, 2, 1, 3]),
    ],
)
def test_order(name: str, options: dict[str, Any], order: list[int]) -> None:
    boxes = np.array([[100.0, 300, 40, 20, 0], [700, 200, 40, 20, 0], [300, 300, 40, 20, 0], [50, 50, 40, 20, 0]])
    labels = np.array([0, 0, 0, 1])
    names = ClassNames(["plane", "Tram"])
    assert codecs.get(name, **options).order(boxes, labels, names, SIZE).tolist() == order


@pytest.mark.parametrize("zero", [(0.0, 0.0), (30.0, 0.0), (0.0, 30.0)])
def test_boxes_of_no_size(codec: codecs.Codec, names: ClassNames, zero: tuple[float, float]) -> None:
    box = np.array([[500.0, 250.0, *zero, 0.4]])
    text = codec.encode(box, np.array([0]), names, SIZE)
    decoded = codec.decode(text, names, SIZE, on_invalid="raise")
    # In Kosmos-2's cells such a box is a cell wide, or two where it lies on the edge between them.
    step = 2 * 1000 / 32 if codec.name == "kosmos2" else 1000 / 100
    assert np.abs(decoded.boxes[0, :2] - box[0, :2]).max() <= step
    assert decoded.boxes[0, 2:4].max() <= 30 + 2 * step


@pytest.mark.parametrize("name", ["shikra", "plain", "skysensegpt"])
def test_no_number_is_minus_zero(name: str) -> None:
    corner = np.array([[[-0.0, -0.0], [-0.0, -0.0], [-0.0, -0.0], [-0.0, -0.0]]])
    text = codecs.get(name).encode(corner, np.array([0]), ClassNames(["ship"]), SIZE)
    assert "-" not in text


@pytest.mark.parametrize("name", ["vrsbench", "rex-omni", "rscovlm"])
def test_what_is_cut_off_stays_when_it_is_written_again(name: str) -> None:
    """Cutting off must not take 0.29 * 100, which is 28.999999999999996 to a computer, for 28."""
    codec = codecs.get(name, **{"vrsbench": {"version": "hbb"}, "rscovlm": {"shape": "hbb"}}.get(name, {}))
    names, size = ClassNames(["ship"]), (1000, 999)
    at = np.arange(3.0, 999, 7)
    quads = np.stack([[at * 0, at * 0], [at, at * 0], [at, at], [at * 0, at]]).transpose(2, 0, 1)
    labels = np.zeros(len(at), dtype=np.int64)
    text = codec.encode(quads, labels, names, size)
    again = codec.encode(codec.decode(text, names, size).boxes, labels, names, size)
    assert again == text
