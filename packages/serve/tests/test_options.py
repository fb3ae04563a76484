"""The options of requests."""

from __future__ import annotations

from typing import Any

import pytest
from rbox_formats import ClassNames, tiling
from rbox_serve._options import Options
from rbox_serve.errors import RequestError


def test_options_are_read_from_texts_and_from_json() -> None:
    texts = [("window", "64"), ("gap", "8"), ("score_threshold", "0.5"), ("class", "ship"), ("class", "plane")]
    values = [("window", 64), ("gap", 8), ("score_threshold", 0.5), ("class", ["ship", "plane"])]
    expected = Options("json", 64, 8, 0.5, ("ship", "plane"))
    assert Options.of(texts) == Options.of(values) == expected
    assert Options.of([("window", ""), ("exact", "true"), ("format", "png")]) == Options("png", exact=True)
    assert expected.generation == {"window": 64, "gap": 8, "score_threshold": 0.5}


@pytest.mark.parametrize(
    "given, message",
    [
        ([("treshold", "0.5")], r"(?s)got 'treshold'.*Did you mean 'score_threshold'"),
        ([("window", "1.5")], "window as a whole number of pixels"),
        ([("window", "3")], "0 for whole images, or 16 px or more, got 3"),
        ([("window", "-1")], "got -1"),
        ([("gap", "64"), ("window", "64")], "a gap below the window of 64 px"),
        ([("gap", "3")], "a window with a gap"),
        ([("score_threshold", "nan")], "from 0 to 1, got nan"),
        ([("score_threshold", "high")], "as a number, got 'high'"),
        ([("exact", "perhaps")], "true or false"),
        ([("format", "tiff")], "a format among json, geojson, png, events"),
        ([("crs", 4326)], "crs as a text"),
        ([("window", [1])], "whole number"),
    ],
)
def test_what_is_wrong_is_said(given: list[tuple[str, Any]], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        Options.of(given)


@pytest.mark.parametrize(
    "accept, format",
    [
        ("", "json"),
        ("*/*", "json"),
        ("text/html,application/xhtml+xml;q=0.9,*/*;q=0.8", "json"),
        ("image/png", "png"),
        ("application/geo+json;q=0.5, image/png;q=0.4", "geojson"),
        ("text/event-stream; q=odd, application/json;q=0.1", "json"),
        ("text/event-stream", "events"),
    ],
)
def test_accept_chooses_where_no_option_does(accept: str, format: str) -> None:
    assert Options.of([], accept).format == format
    assert Options.of([("format", "png")], accept).format == "png"


def test_classes_are_found_by_their_names() -> None:
    names = ClassNames(["plane", "small-vehicle"])
    assert Options().labels(names) is None
    assert Options(classes=("Small Vehicle",)).labels(names) == [1]
    with pytest.raises(RequestError, match="classes among plane, small-vehicle, got 'tram'"):
        Options(classes=("plane", "tram")).labels(names)


@pytest.mark.parametrize("size", [(100, 80), (64, 64), (1000, 17), (133, 1024)])
@pytest.mark.parametrize("window, gap", [(16, 0), (64, 16), (100, 99), (4096, 5)])
def test_windows_are_counted_before_they_are_made(size: tuple[int, int], window: int, gap: int) -> None:
    made = len(tiling.windows(*size, window, gap, min_image_share=0))
    assert Options(window=window, gap=gap).least_windows(*size) == made
    assert Options(window=window).least_windows(*size) <= made
