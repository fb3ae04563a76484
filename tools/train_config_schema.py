"""Write docs/train-config.schema.json: the JSON Schema of the settings that `lmm-detector train --config` reads.

hatch run config-schema
"""

from __future__ import annotations

import json
from pathlib import Path

from lmm_detector._training import _config
from rbox_formats import files

SCHEMA = Path(__file__).parents[1] / "docs" / "train-config.schema.json"

if __name__ == "__main__":
    files.write_text(SCHEMA, json.dumps(_config.schema(), indent=2) + "\n")
