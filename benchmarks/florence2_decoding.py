"""How fast florence2 texts are read, beside transformers' own parser: 1,000 texts of 100 boxes, both in one run.

CPU seconds: both run on one core, and what else the machine does counts less.

    python benchmarks/florence2_decoding.py
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
from rbox_formats import ClassNames, codecs
from rbox_formats.datasets import dota

SIZE = (1024, 1024)


def texts(count: int, boxes: int, names: ClassNames) -> list[str]:
    rng = np.random.default_rng(0)
    codec = codecs.get("florence2")
    return [
        codec.encode(
            np.column_stack(
                [
                    rng.uniform(100, 900, (boxes, 2)),
                    rng.uniform(20, 80, boxes),
                    rng.uniform(5, 20, boxes),
                    rng.uniform(-1.5, 1.5, boxes),
                ]
            ),
            rng.integers(0, len(names), boxes),
            names,
            SIZE,
        )
        for _ in range(count)
    ]


def seconds(function: Callable[[], object]) -> float:
    start = time.process_time()
    function()
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=1000)
    parser.add_argument("--boxes", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()

    from transformers.models.florence2.processing_florence2 import Florence2PostProcessor

    names = dota.V1_0
    written = texts(options.texts, options.boxes, names)
    codec = codecs.get("florence2")
    peer = Florence2PostProcessor(config={}, tokenizer=_Tokenizer())

    def ours() -> list[codecs.Decoded]:
        return [codec.decode(text, names, SIZE) for text in written]

    def theirs() -> list[list[dict]]:
        return [
            peer.parse_description_with_polygons_from_text_and_spans(text, image_size=SIZE, allow_empty_phrase=False)
            for text in written
        ]

    for text, found, instances in zip(written, ours(), theirs(), strict=True):
        polygons = [polygon for instance in instances for polygon in instance["polygons"]]
        # transformers cuts the bins' centres to whole pixels, and makes one instance of each class.
        assert found.quads is not None, text
        np.testing.assert_array_equal(np.trunc(found.quads.reshape(-1, 8)), polygons)
    rounds = [(seconds(ours), seconds(theirs)) for _ in range(options.rounds)]
    mine, other = (min(column) for column in zip(*rounds, strict=True))
    count = options.texts * options.boxes
    print(f"{options.texts} texts of {options.boxes} boxes, best of {options.rounds}; the same quads from both\n")
    print("| reader | seconds | per box |\n|---|---|---|")
    peer_name = "transformers' `parse_description_with_polygons_from_text_and_spans`"
    print(f"| {peer_name} | {other:.2f} | {other / count * 1e6:.1f} us |")
    print(f"| `florence2` decode, with boxes, spans and reasons | {mine:.2f} | {mine / count * 1e6:.1f} us |")
    print(f"\nratio: {other / mine:.1f}")


class _Tokenizer:
    """The parser only asks a tokenizer for the token that it never uses here."""

    all_special_tokens: tuple[str, ...] = ()


if __name__ == "__main__":
    main()
