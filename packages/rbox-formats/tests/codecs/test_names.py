"""Class names: those that can be written come back, those that cannot are refused, and near ones are said."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from rapidfuzz.distance import Levenshtein
from rbox_formats import ClassNames, codecs
from rbox_formats.codecs import Codec, DecodeWarning
from rbox_formats.errors import ClassNameError, CodecError

SIZE = (1000, 500)
BOX, LABEL = np.array([[500.0, 250, 80, 40, 0.3]]), np.array([0])

words = st.text(min_size=1, max_size=12) | st.lists(
    st.sampled_from([*"ab1-_ .;:,\"'\\|*+?()/&#~^$\n\té😀", "</s>", "<s>", "None", "none", "s"]), min_size=1, max_size=8
).map("".join)


@pytest.mark.each_syntax
@settings(max_examples=8, suppress_health_check=[HealthCheck.filter_too_much])
@given(name=words)
def test_what_can_be_written_can_be_read(codec: Codec, name: str) -> None:
    """Whatever the name is, either it is refused or its box comes back, by the grammar too."""
    try:
        names = ClassNames([name])
    except ClassNameError:
        assume(False)
    try:
        text = codec.encode(BOX, LABEL, names, SIZE)
    except CodecError as error:
        assert "expected class names" in str(error)  # noqa: PT017
        with pytest.raises(CodecError, match="expected class names"):
            codec.grammar(names)
        return
    decoded = codec.decode(text, names, SIZE, on_invalid="raise")
    assert decoded.labels.tolist() == [0]
    assert decoded.status == "boxes"
    assert re.fullmatch(codec.grammar(names), text)


@pytest.mark.parametrize(
    "name, bad",
    [
        ("florence2", ["a<b"]),
        ("allseeing", ["a<b"]),
        ("geochat", ["a<b", "a{b"]),
        ("skysensegpt", ["a<b", "a>b", "a:b", "a{b", "a}b", "a" * 100]),
        ("plain", ["a[b", "a]b", "a;b", "</s>", "a<|im_end|>"]),
        ("qwen2-vl", ["a<b"]),
        ("qwen2.5-vl", ["a{b", "a}b", "a</s>b", "<pad>"]),
        ("gemini", ["a{b", "a}b", "<eos>"]),
        ("internvl", ["a<b"]),
        ("paligemma", ["a<b", "a;b"]),
        ("kosmos2", ["a<b"]),
        ("cogvlm", ["a<b", "a[b", "a]b", "a;b"]),
        ("shikra", ["a<b", "a[b", "a]b", "a;b"]),
        ("rex-omni", ["a<b"]),
        ("rscovlm", ["a{b", "a}b"]),
    ],
)
def test_names_that_cannot_be_written(name: str, bad: list[str]) -> None:
    codec = codecs.get(name)
    for word in bad:
        names = ClassNames([word] if codec.one_class else ["ship", word])
        for refuse in (
            lambda names=names: codec.encode(BOX, LABEL, names, SIZE),
            lambda names=names: codec.encode(np.zeros((0, 5)), LABEL[:0], names, SIZE),
            lambda names=names: codec.grammar(names),
        ):
            with pytest.raises(CodecError, match=r"expected class names .*, got '"):
                refuse()


def test_a_line_holds_no_name_of_two_lines() -> None:
    with pytest.raises(CodecError, match=r"expected class names without '\\n'"):
        codecs.get("rscovlm", style="plain").encode(BOX, LABEL, ClassNames(["a\nb"]), SIZE)


ONE_CLASS = ["earthdial", "skysensegpt", "vrsbench", "falcon", "teochat"]


def test_one_class_at_a_time(codec: Codec) -> None:
    assert codec.one_class == (codec.name in ONE_CLASS)
    if not codec.one_class:
        return
    for names in (ClassNames(["ship", "plane"]), ClassNames([])):
        for refuse in (
            lambda names=names: codec.encode(BOX, LABEL, names, SIZE),
            lambda names=names: codec.decode("", names, SIZE),
            lambda names=names: codec.stream(names, SIZE),
        ):
            with pytest.raises(
                CodecError, match=f"expected one class name, .*{codec.name}.*got {len(names)}"
            ) as raised:
                refuse()
            assert "Ask for one class at a time" in str(raised.value)


def test_a_class_in_the_prompt_needs_no_spelling() -> None:
    """Names that no text could hold are no matter where the text does not hold them."""
    names = ClassNames(["a[b]; c"])
    for name in ("earthdial", "vrsbench", "falcon", "teochat"):
        text = codecs.get(name).encode(BOX, LABEL, names, SIZE)
        assert codecs.get(name).decode(text, names, SIZE, on_invalid="raise").labels.tolist() == [0]


def test_case_and_signs_between_words_do_not_matter(codec: Codec, valid: str, names: ClassNames) -> None:
    if codec.name == "skysensegpt":
        return  # its sentence has other words than names
    for other in (valid.replace("small-vehicle", "Small_Vehicle"), valid.replace("small vehicle", "SMALL  VEHICLE")):
        assert codec.decode(other, names, SIZE, on_invalid="raise").labels.tolist() == (
            codec.decode(valid, names, SIZE).labels.tolist()
        )


def test_labels_out_of_range(codec: Codec, names: ClassNames) -> None:
    for label in (-1, len(names)):
        with pytest.raises(CodecError, match=f"expected labels .*0 to {len(names) - 1}, got"):
            codec.encode(BOX, np.array([label]), names, SIZE)


def test_numbers_that_are_none(codec: Codec, names: ClassNames) -> None:
    for value in (np.nan, np.inf, -np.inf):
        for boxes in (BOX * [1, 1, 1, 1, value], BOX * [value, 1, 1, 1, 1], np.full((1, 4, 2), value)):
            with pytest.raises(CodecError, match=f"expected finite .*{value}"):
                codec.encode(boxes, LABEL, names, SIZE)


def test_boxes_far_outside(codec: Codec, names: ClassNames) -> None:
    """What is not clamped is refused where the text would not be read; what is clamped is written at the border."""
    box = np.array([[5e8, 250, 80, 40, 0.3]])
    if codec.coordinates.limits[0][1] < 99_999 or codec.name == "qwen2.5-vl":
        assert codec.decode(codec.encode(box, LABEL, names, SIZE), names, SIZE, on_invalid="raise").status == "boxes"
    else:
        with pytest.raises(CodecError, match=r"expected boxes that .* can hold, got .*, whose numbers .*99999"):
            codec.encode(box, LABEL, names, SIZE)


# Names that are near to one.

# (as written, similarity to "vehicle" by Levenshtein's distance over the longer length)
NEAR = [
    ("vehicle", 1.0),
    ("vehicel", 5 / 7),
    ("vehicles", 7 / 8),
    ("vehic", 5 / 7),
    ("xxhicle", 5 / 7),
    ("plane", 1 / 7),
]


def florence2(name: str) -> str:
    return name + "<loc_1><loc_2><loc_1><loc_4><loc_3><loc_4><loc_3><loc_2>"


@pytest.mark.parametrize("written, similarity", NEAR)
def test_the_threshold_is_reached_exactly(written: str, similarity: float) -> None:
    names, codec = ClassNames(["vehicle", "tug"]), codecs.get("florence2")
    assert Levenshtein.normalized_similarity(written, "vehicle") == pytest.approx(similarity)
    for threshold, taken in ((similarity - 1e-6, True), (similarity, True), (min(similarity + 1e-6, 1.0), False)):
        decoded = codec.decode(florence2(written), names, SIZE, on_invalid="ignore", near_match=threshold)
        assert (decoded.labels.tolist() == [0]) is (taken or written == "vehicle")
        expected = ((written, "vehicle"),) if taken and written != "vehicle" else ()
        assert decoded.near_matches == expected


@given(st.integers(1, 40), st.data())
def test_any_threshold_is_reached_exactly(length: int, data: st.DataObject) -> None:
    wrong = data.draw(st.integers(0, length))
    names, codec = ClassNames(["a" * length]), codecs.get("florence2")
    written = "b" * wrong + "a" * (length - wrong)
    similarity = (length - wrong) / length
    decoded = codec.decode(florence2(written), names, SIZE, on_invalid="ignore", near_match=similarity)
    assert decoded.labels.tolist() == [0]


def test_the_nearest_is_taken() -> None:
    names = ClassNames(["large-vehicle", "small-vehicle", "ship"])
    decoded = codecs.get("florence2").decode(
        florence2("smal vehicle") + florence2("Large_Vehicles") + florence2("shop") + florence2("harbor"),
        names,
        SIZE,
        on_invalid="ignore",
        near_match=0.7,
    )
    assert [names[label] for label in decoded.labels] == ["small-vehicle", "large-vehicle", "ship"]
    assert decoded.near_matches == (
        ("smal vehicle", "small-vehicle"),
        ("Large_Vehicles", "large-vehicle"),
        ("shop", "ship"),
    )
    assert [reason for _, _, reason in decoded.rejected] == ["an unknown class 'harbor'"]


def test_near_names_in_every_codec(codec: Codec, names: ClassNames, valid: str) -> None:
    if codec.syntax.names == "prompt":
        assert codec.decode(valid, names, SIZE, near_match=0.1).near_matches == ()
        return
    text = valid.replace("ship", "shipp")
    decoded = codec.decode(text, names, SIZE, on_invalid="ignore", near_match=0.8)
    assert decoded.near_matches == (("shipp", "ship"),)
    np.testing.assert_array_equal(decoded.labels, codec.decode(valid, names, SIZE).labels)
    with pytest.warns(DecodeWarning, match=f"took in a {codec.name} text: 'shipp' for 'ship'"):
        codec.decode(text, names, SIZE, near_match=0.8)
    assert codec.decode(text, names, SIZE, on_invalid="ignore", near_match=0.81).near_matches == ()
    missing = codec.decode(text, names, SIZE, on_invalid="ignore")
    assert len(missing.labels) < len(decoded.labels)
    assert {reason for _, _, reason in missing.rejected} == {"an unknown class 'shipp'"}


@pytest.mark.parametrize("near_match", [-0.1, 1.1, 80, float("nan")])
def test_a_similarity_is_from_0_to_1(near_match: float) -> None:
    with pytest.raises(CodecError, match="expected near_match as a similarity from 0 to 1, got"):
        codecs.get("florence2").decode("", ClassNames(["a"]), SIZE, near_match=near_match)
