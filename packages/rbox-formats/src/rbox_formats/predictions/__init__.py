"""`predictions.jsonl`: what every detector writes and every metric reads.

The first line is the header: schema version, class names, the fingerprint of the checkpoint, codec and its options,
generation settings, dataset. Each further line is an image: its id and size, boxes, quads or null, labels, scores or
null, and masks where the detector gives some; from a detector that writes text also a status, and for each window its
raw text, what decoding rejected and why. Coordinates are those of the original image, after windows are merged. Lines
are appended one by one; the last line of a killed run may be torn, and is written again. docs/predictions.schema.json
is its JSON Schema.

A run may be in several part files, which have one header, and each image once. The same as Parquet, for programs that
read columns, has a row for each image, and needs pyarrow: the extra "parquet". docs/reference/predictions.md lists the
columns.
"""

from rbox_formats.predictions._header import SCHEMA_VERSION, Header
from rbox_formats.predictions._schema import to_dict
from rbox_formats.predictions._stream import SUFFIXES, PredictionFile, Stream, parts, read, stream, write
from rbox_formats.predictions._writing import Writer

__all__ = [
    "SCHEMA_VERSION",
    "SUFFIXES",
    "Header",
    "PredictionFile",
    "Stream",
    "Writer",
    "parts",
    "read",
    "stream",
    "to_dict",
    "write",
]
