"""The files that make a container image of a package: templates, manifest, start script, Dockerfile."""

from __future__ import annotations

from pathlib import Path

from rbox_formats import files, ymir
from rbox_formats.executor._package import InferParameters, MineParameters, Package

_MANIFEST = """# Rotated boxes are detection, with an angle in each box.
object_type: 2
enable_livecode: false
is_official: false
"""

_START = """#!/bin/bash
# The platform starts the image without a command; its verifier calls this file by name.
# As any user: what libraries cache goes to the output folder, the only one that may be written to.
export HOME="${{RBOX_CACHE:-/out/cache}}"
export MPLCONFIGDIR="$HOME" NUMBA_CACHE_DIR="$HOME/numba" HF_HOME="$HOME/hf" TORCH_HOME="$HOME/torch" TMPDIR="$HOME"
mkdir -p "$HOME"
exec {command} ymir
"""

_DOCKERFILE = """# An image of {command} for YMIR, built in a checkout:
# docker build -f {folder}/Dockerfile -t {command}-ymir .
# pip's own index has PyTorch for CUDA. For a smaller image without: --build-arg TORCH_INDEX=ADDRESS, the index that
# PyTorch's page on its installation names for the CPU.
FROM python:3.12-slim
ARG TORCH_INDEX=
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
{system}COPY packages /src/packages
RUN PIP_INDEX_URL="$TORCH_INDEX" pip install --no-cache-dir {torch} \\
    && pip install --no-cache-dir {packages} \\
    && rm -rf /src
COPY {folder}/img-man /img-man
COPY --chmod=755 {folder}/start.sh /usr/bin/start.sh
CMD ["bash", "/usr/bin/start.sh"]
"""


def image_files(package: Package, folder: str, packages: str, *, torch: str, system: str = "") -> dict[str, str]:
    """Return the files of a container image by their paths in its folder.

    >>> from rbox_formats import executor
    >>> package = executor.Package("my-detector", executor.InferParameters, train=print, load=print, mine=print)
    >>> sorted(executor.image_files(package, "docker", "/src/packages/mine", torch="torch"))[:3]
    ['Dockerfile', 'img-man/infer-template.yaml', 'img-man/manifest.yaml']

    Args:
        package: What is in the image.
        folder: The folder of these files, in the checkout.
        packages: What pip installs, as words of its command line.
        torch: The versions of torch to install first, from the index that the builder chooses.
        system: Lines of the Dockerfile for what pip does not install, each with its end.
    """
    templates = {
        "training": package.train_parameters,
        "mining": MineParameters,
        "infer": InferParameters,
    }
    values = {"command": package.command, "folder": folder, "packages": packages, "torch": torch, "system": system}
    return {
        **{f"img-man/{name}-template.yaml": ymir.template(kind) for name, kind in templates.items()},
        "img-man/manifest.yaml": _MANIFEST,
        "start.sh": _START.format(**values),
        "Dockerfile": _DOCKERFILE.format(**values),
    }


def write_image_files(found: dict[str, str], out: str | Path) -> Path:
    """Write the files of a container image.

    >>> from tempfile import TemporaryDirectory
    >>> from rbox_formats import executor
    >>> with TemporaryDirectory() as folder:
    ...     executor.write_image_files({"start.sh": "exit 0"}, folder).joinpath("start.sh").read_text()
    'exit 0'

    Args:
        found: What `image_files` returned.
        out: The folder.

    Returns:
        The folder.
    """
    out = files.as_path(out)
    for name, text in found.items():
        files.write_text(out / name, text)
    return out
