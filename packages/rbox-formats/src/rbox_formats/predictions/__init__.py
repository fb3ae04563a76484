"""`predictions.jsonl`: what every detector writes and every metric reads.

The first line is the header: schema version, class names, the fingerprint of the checkpoint, codec and its options,
generation settings, dataset. Each further line is an image: its id and size, boxes, quads or null, labels, scores or
null, and masks where the detector gives some; from a detector that writes text also a status, and for each window its
raw text, what decoding rejected and why. Coordinates are those of the original image, after windows are merged. Lines
are appended one by one; the last line of a killed run may be torn, and is written again. docs/predictions.schema.json
is its JSON Schema.
"""

from rbox_formats.predictions._header import SCHEMA_VERSION, Header
from rbox_formats.predictions._reading import PredictionFile, read
from rbox_formats.predictions._schema import to_dict
from rbox_formats.predictions._writing import Writer

__all__ = ["SCHEMA_VERSION", "Header", "PredictionFile", "Writer", "read", "to_dict"]
