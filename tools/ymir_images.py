"""Write the files of both packages' container images for YMIR, from the commands' own parameters.

python tools/ymir_images.py     # into docker/; tests/test_ymir_images.py compares
"""

from __future__ import annotations

from pathlib import Path

from lmm_detector._ymir._package import PACKAGE as LMM_DETECTOR
from rbox_baselines._ymir._package import PACKAGE as RBOX_BASELINES
from rbox_formats.executor import image_files, write_image_files

ROOT = Path(__file__).parents[1]
FOLDER = "docker"

# OpenCV, which mmcv imports, asks for these of a graphical desktop.
_LIBRARIES = """# hadolint ignore=DL3008
RUN apt-get update \\
    && apt-get install -y --no-install-recommends libgl1 libglib2.0-0 \\
    && rm -rf /var/lib/apt/lists/*
"""


def found() -> dict[str, dict[str, str]]:
    """Return the files of each image, by the package's command and their paths."""
    return {
        RBOX_BASELINES.command: image_files(
            RBOX_BASELINES,
            f"{FOLDER}/{RBOX_BASELINES.command}",
            "'/src/packages/rbox-formats[ymir]' /src/packages/rbox-metrics '/src/packages/baselines[ymir]'",
            torch="'torch==2.13.0'",
            system=_LIBRARIES,
        ),
        LMM_DETECTOR.command: image_files(
            LMM_DETECTOR,
            f"{FOLDER}/{LMM_DETECTOR.command}",
            "'/src/packages/rbox-formats[ymir]' /src/packages/rbox-metrics '/src/packages/lmm-detector[ymir]'",
            torch="'torch==2.13.0'",
        ),
    }


def main() -> None:
    for command, files in found().items():
        write_image_files(files, ROOT / FOLDER / command)


if __name__ == "__main__":
    main()
