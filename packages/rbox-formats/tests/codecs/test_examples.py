"""The examples that the formats' own sources give, and what they mean; values worked by hand."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import pytest
from rbox_formats import LE90, OC, ClassNames, codecs, convert, hbox_to_rbox, rbox_to_quad


class Example(NamedTuple):
    """A text and what it says: upright boxes of 4 numbers, (cx, cy, w, h, degrees) of 5, or corners of 8."""

    name: str
    options: dict[str, Any]
    text: str
    labels: list[str]
    boxes: list[tuple[float, ...]]
    size: tuple[int, int] = (1000, 1000)
    rejected: int = 0


def fenced(text: str) -> str:
    return f"```json\n[\n\t{text}\n]\n```"


EXAMPLES = [
    # Bins 135 and 777 of 1024 px are 138.752 and 796.16; a source prints them as float32.
    Example(
        "florence2",
        {},
        "bridge<loc_135><loc_777><loc_134><loc_790><loc_150><loc_791><loc_151><loc_778>",
        ["bridge"],
        [(138.75201416015625, 796.1600341796875, 137.728, 809.472, 154.112, 810.496, 155.136, 797.184)],
        (1024, 1024),
    ),
    Example(
        "allseeing",
        {},
        "<ref>bridge</ref><box>[[135, 777, 134, 790, 150, 791, 151, 778]]</box>",
        ["bridge"],
        [(138.752, 796.16, 137.728, 809.472, 154.112, 810.496, 155.136, 797.184)],
        (1024, 1024),
    ),
    # Two answers of the model with what it says behind them, and in its terms for places.
    Example(
        "geochat",
        {},
        "<p>some buildings</p> {<40><77><52><85>|<1>}<delim>{<45><64><57><72>|<90>}  located close to each other",
        ["some buildings"] * 2,
        [(460, 810, 120, 80, -1), (510, 680, 120, 80, -90)],
        rejected=1,
    ),
    Example(
        "geochat",
        {"clockwise": True},
        "<p>some buildings</p> {<40><77><52><85>|<1>}<delim>{<45><64><57><72>|<90>}",
        ["some buildings"] * 2,
        [(460, 810, 120, 80, 1), (510, 680, 120, 80, 90)],
    ),
    Example(
        "geochat",
        {},
        "<p>1 silver large-vehicle</p> {<70><93><74><97>|<90>} at the bottom",
        ["1 silver large-vehicle"],
        [(720, 950, 40, 40, 0)],
        rejected=1,
    ),
    Example(
        "earthdial",
        {},
        "[[88, 33, 96, 41, 57]][[53, 18, 57, 22, 57]]",
        ["airplane"] * 2,
        [(920, 370, 80, 80, -57), (550, 200, 40, 40, -57)],
    ),
    Example("earthdial", {}, "[[87, 34, 91, 35, 90]]", ["airplane"], [(890, 345, 40, 10, -90)]),
    # Its truth holds 102, and 0 for what is upright.
    Example("earthdial", {}, "[[98, 94, 102, 96, 0]]", ["airplane"], [(1000, 950, 40, 20, 0)]),
    Example(
        "rscovlm",
        {},
        fenced('{"quadrant bbox": [10, 20, 50, 20, 50, 40, 10, 40], "label": "ship"}'),
        ["ship"],
        [(10, 20, 50, 20, 50, 40, 10, 40)],
    ),
    Example(
        "rscovlm",
        {"style": "plain"},
        "10,20,50,20,50,40,10,40 small vehicle\n30,20,70,20,70,40,30,40 small vehicle\n",
        ["small vehicle"] * 2,
        [(10, 20, 50, 20, 50, 40, 10, 40), (30, 20, 70, 20, 70, 40, 30, 40)],
    ),
    Example(
        "rscovlm",
        {"shape": "obb"},
        fenced('{"oriented bbox": [300, 200, 80, 40, -30], "label": "ship"}'),
        ["ship"],
        [(300, 200, 80, 40, -30)],
    ),
    Example(
        "rscovlm", {"shape": "obb", "style": "plain"}, "300,200,80,40,-90 ship", ["ship"], [(300, 200, 80, 40, 90)]
    ),
    Example(
        "rscovlm",
        {"shape": "hbb"},
        fenced('{"bbox_2d": [10, 20, 50, 40], "label": "ship"}'),
        ["ship"],
        [(10, 20, 50, 40)],
    ),
    Example("rscovlm", {"shape": "hbb", "style": "plain"}, "10,20,50,40 ship", ["ship"], [(10, 20, 50, 40)]),
    Example(
        "skysensegpt",
        {},
        "There are 2 ships in the image:<rbox>({<12.50><30.21><4.10><1.95>|<37>}, {<50.00><50.00><10.00><2.00>|<90>})"
        "</rbox>",
        ["ship"] * 2,
        [(125, 302.1, 41, 19.5, 37), (500, 500, 100, 20, 90)],
    ),
    Example(
        "falcon",
        {},
        "<quad><703><420><703><292><571><292><571><420></quad>",
        ["harbor"],
        [(703, 420, 703, 292, 571, 292, 571, 420)],
    ),
    Example(
        "falcon",
        {},
        "<quad><703><420><703><292><571><292><571><420></quad>",
        ["harbor"],
        [(1406, 210, 1406, 146, 1142, 146, 1142, 210)],
        (2000, 500),
    ),
    Example("vrsbench", {"version": "hbb"}, "{<10><20><30><40>}", ["ship"], [(100, 200, 300, 400)]),
    Example("vrsbench", {"version": "obb_v1"}, "{<30><40><8><4>|<-30>}", ["ship"], [(300, 400, 80, 40, 30)]),
    Example("vrsbench", {"version": "obb_v2"}, "{<26><38><34><42>|<-30>}", ["ship"], [(300, 400, 80, 40, 30)]),
    Example("teochat", {}, "[0, 8, 49, 53]", ["building"], [(0, 80, 490, 530)]),
    Example(
        "qwen2-vl",
        {},
        "<|object_ref_start|>一只狗<|object_ref_end|><|box_start|>(221,423),(569,886)<|box_end|>",
        ["一只狗"],
        [(221, 423, 569, 886)],
    ),
    Example(
        "qwen2-vl",
        {},
        "<|object_ref_start|>一只狗<|object_ref_end|><|box_start|>(221,423),(569,886)<|box_end|><|im_end|>",
        ["一只狗"],
        [(442, 211.5, 1138, 443)],
        (2000, 500),
    ),
    Example(
        "qwen2.5-vl",
        {},
        '```json [{"bbox_2d": [135, 114, 1016, 672], "label": "dog"}] ```',
        ["dog"],
        [(135, 114, 1016, 672)],
    ),
    Example(
        "qwen3-vl",
        {},
        '```json [{"bbox_2d": [135, 114, 916, 672], "label": "dog"}] ```',
        ["dog"],
        [(270, 57, 1832, 336)],
        (2000, 500),
    ),
    Example(
        "internvl",
        {},
        "<ref>bus</ref><box>[[290, 201, 835, 850]]</box>",
        ["bus"],
        [(580, 100.5, 1670, 425)],
        (2000, 500),
    ),
    Example(
        "paligemma",
        {},
        "<loc0000><loc0000><loc1022><loc1022> cat",
        ["cat"],
        [(0, 0, 1022, 1022)],
        (1023, 1023),
    ),
    # y stands first.
    Example("paligemma", {}, "<loc0000><loc0100><loc0200><loc0300> cat", ["cat"], [(100, 0, 300, 200)], (1023, 1023)),
    # Cells 3 of row 1 and 5 of row 2: 32 px each, so from the centre of one to the centre of the other.
    Example(
        "kosmos2",
        {},
        "<grounding><phrase>a dog</phrase><object><patch_index_0035><patch_index_0069></object>",
        ["a dog"],
        [(3.5 * 32, 1.5 * 32, 5.5 * 32, 2.5 * 32)],
        (1024, 1024),
    ),
    # In one row: the whole cells.
    Example(
        "kosmos2",
        {},
        "<phrase>a dog</phrase><object><patch_index_0035><patch_index_0037></delimiter_of_multi_objects/>"
        "<patch_index_0035><patch_index_0035></object>",
        ["a dog"] * 2,
        [(3 * 32, 1 * 32, 6 * 32, 2 * 32), (3 * 32, 1 * 32, 4 * 32, 2 * 32)],
        (1024, 1024),
    ),
    Example("cogvlm", {}, "dog [[086,540,400,760]]", ["dog"], [(86, 540, 400, 760)]),
    Example("cogvlm", {}, "dog[[086,540,400,760]]</s>", ["dog"], [(172, 270, 800, 380)], (2000, 500)),
    Example(
        "gemini",
        {},
        '[{"box_2d": [100, 200, 300, 400], "label": "dog"}]',
        ["dog"],
        [(400, 50, 800, 150)],
        (2000, 500),
    ),
    Example(
        "rex-omni",
        {},
        "<|object_ref_start|>person<|object_ref_end|><|box_start|><0><35><980><987>, <646><0><999><940><|box_end|>",
        ["person"] * 2,
        [(0, 35, 980, 987), (646, 0, 999, 940)],
        (999, 999),
    ),
    Example(
        "shikra",
        {},
        "dog[0.100,0.100,0.500,0.500;0.200,0.300,0.250,0.310]",
        ["dog"] * 2,
        [(200, 50, 1000, 250), (400, 150, 500, 155)],
        (2000, 500),
    ),
    # Our own: one scale for both axes.
    Example(
        "plain",
        {},
        "ship[512,90,40,12,-35][530,101,41,12,-36]",
        ["ship"] * 2,
        [(1024, 180, 80, 24, -35), (1060, 202, 82, 24, -36)],
        (2000, 500),
    ),
]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: f"{example.name}-{example.text[:30]}")
def test_examples(example: Example) -> None:
    codec = codecs.get(example.name, **example.options)
    names = ClassNames(dict.fromkeys(example.labels))
    decoded = codec.decode(example.text, names, example.size, on_invalid="ignore")
    assert decoded.status == "boxes"
    assert len(decoded.rejected) == example.rejected
    assert [names[label] for label in decoded.labels] == example.labels
    expected = np.array(example.boxes, dtype=float)
    if expected.shape[1] == 8:
        assert decoded.quads is not None
        np.testing.assert_allclose(decoded.quads.reshape(-1, 8), expected, atol=1e-4)
        return
    assert decoded.quads is None
    if expected.shape[1] == 4:
        boxes = hbox_to_rbox(expected)
    else:
        expected[:, 4] = np.radians(expected[:, 4])
        boxes = convert(expected, LE90, LE90)
    np.testing.assert_allclose(decoded.boxes, boxes, atol=1e-9)


def test_every_codec_has_an_example() -> None:
    assert {example.name for example in EXAMPLES} == set(codecs.CODECS)


@pytest.mark.parametrize(
    "name, question",
    [
        ("florence2", "Locate the objects tightly with quad boxes and category names in the image."),
        ("falcon", "Detect all harbor in the image.\nUse oriented bounding boxes."),
        ("skysensegpt", "[detection]Detect all the harbors in the image."),
        ("rscovlm", "find the harbor"),
        ("paligemma", "detect harbor"),
        ("earthdial", "[refer] Give me the location of <ref>harbor</ref>"),
    ],
)
def test_questions(name: str, question: str) -> None:
    assert codecs.get(name).question(ClassNames(["harbor"])) == question


def test_paligemma_asks_for_several_with_its_separator() -> None:
    assert codecs.get("paligemma").question(ClassNames(["ship", "plane"])) == "detect ship ; plane"


def test_a_turned_box_of_the_oldest_convention_is_the_same_polygon() -> None:
    """SkySenseGPT's angle as OpenCV 4.5.1 to 4.12 has it: w is the side that the angle belongs to."""
    decoded = codecs.get("skysensegpt").decode(
        "There are 1 ships in the image:<rbox>({<50.00><50.00><4.00><10.00>|<60>})</rbox>",
        ClassNames(["ship"]),
        (1000, 1000),
        on_invalid="raise",
    )
    box = convert(np.array([[500.0, 500, 40, 100, math.radians(60)]]), OC, LE90)
    np.testing.assert_allclose(rbox_to_quad(decoded.boxes), rbox_to_quad(box), atol=1e-9)


@pytest.mark.parametrize(
    "name, options, count, first, last",
    [
        ("florence2", {}, 1001, "<loc_0>", "<sep>"),
        ("falcon", {}, 1003, "<0>", "</quad>"),
        ("qwen2-vl", {}, 4, "<|object_ref_start|>", "<|box_end|>"),
        ("internvl", {}, 6, "<ref>", "</quad>"),
        ("earthdial", {}, 6, "<ref>", "</quad>"),
        ("paligemma", {}, 1024, "<loc0000>", "<loc1023>"),
        ("kosmos2", {}, 1029, "<patch_index_0000>", "</delimiter_of_multi_objects/>"),
        ("rex-omni", {}, 1004, "<0>", "<|box_end|>"),
        *((name, {}, 0, None, None) for name in ("allseeing", "rscovlm", "geochat", "skysensegpt", "vrsbench")),
        *((name, {}, 0, None, None) for name in ("plain", "qwen2.5-vl", "qwen3-vl", "cogvlm", "gemini", "shikra")),
        ("teochat", {}, 0, None, None),
    ],
)
def test_added_tokens(name: str, options: dict[str, Any], count: int, first: str | None, last: str | None) -> None:
    tokens = codecs.get(name, **options).added_tokens
    assert len(tokens) == len(set(tokens)) == count
    assert (tokens[0] if tokens else None, tokens[-1] if tokens else None) == (first, last)


@pytest.mark.parametrize(
    "name, options, topic, fact",
    [
        (
            "florence2",
            {},
            "scale",
            "1000 of the image's width in x, of its height in y, read back as (n + 0.5) / scale",
        ),
        ("florence2", {}, "rounding", "floor"),
        ("florence2", {}, "clamp", "0 to 999, number by number"),
        ("florence2", {}, "corners", "counter-clockwise on the screen, from the topmost, of equals the leftmost"),
        ("rscovlm", {}, "corners", "clockwise on the screen, from the topmost, of equals the leftmost"),
        ("rscovlm", {}, "scale", "pixels of what the model sees (`input_size`)"),
        ("rscovlm", {}, "rounding", "truncation"),
        ("rscovlm", {"shape": "hbb"}, "rotation", "lost: the upright box around the object is written"),
        ("geochat", {}, "angle", "oc, whole degrees in (0, 90], positive counter-clockwise on the screen; nearest"),
        (
            "vrsbench",
            {},
            "angle",
            "le90, whole degrees in [-90, 90), positive counter-clockwise on the screen; nearest",
        ),
        ("skysensegpt", {}, "angle", "oc, whole degrees in (0, 90], positive clockwise on the screen; nearest"),
        ("paligemma", {}, "axes", "y before x"),
        ("gemini", {}, "axes", "y before x"),
        ("rex-omni", {}, "scale", "999 of the image's width in x, of its height in y"),
        ("plain", {}, "scale", "1000 of the image's longer side in x and y"),
        ("cogvlm", {}, "clamp", "0 to 999, number by number"),
        ("teochat", {}, "class name", "in the prompt only"),
        ("plain", {}, "empty answer", "'none'"),
    ],
)
def test_facts(name: str, options: dict[str, Any], topic: str, fact: str) -> None:
    assert codecs.get(name, **options).facts()[topic] == fact


def test_every_codec_states_every_fact(codec: codecs.Codec) -> None:
    topics = {"numbers", "scale", "rounding", "clamp", "axes", "corners", "angle", "padding", "class name"}
    facts = codec.facts()
    assert set(facts) - {"most boxes"} == {*topics, "empty answer", "added tokens", "rotation"}
    assert all(facts.values())
    assert facts["rotation"].startswith("held") is codec.holds_rotation


def test_only_these_hold_rotation(codec: codecs.Codec) -> None:
    holds = {"florence2", "allseeing", "geochat", "earthdial", "skysensegpt", "falcon", "plain"}
    expected = codec.name in holds or (codec.name in ("rscovlm", "vrsbench") and "hbb" not in codec.to_dict().values())
    assert codec.holds_rotation is expected
