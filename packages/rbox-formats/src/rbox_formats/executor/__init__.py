"""A labelling platform's tasks over the protocol of detectors: train, infer and mine, for any package of detectors.

A package says how it trains and loads its detectors (`Package`). The rest is the same for all: `run` does what the
platform's files ask for, and `image_files` are those that its container needs.
"""

from rbox_formats.executor._image import image_files, write_image_files
from rbox_formats.executor._package import InferParameters, MineParameters, Package, TrainJob
from rbox_formats.executor._run import run

__all__ = [
    "InferParameters",
    "MineParameters",
    "Package",
    "TrainJob",
    "image_files",
    "run",
    "write_image_files",
]
