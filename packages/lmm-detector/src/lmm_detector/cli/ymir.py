"""`lmm-detector ymir`."""

from __future__ import annotations

from rbox_formats.cli import ymir_command

from lmm_detector.cli._common import set_up_output


@ymir_command("lmm-detector")
def ymir() -> object:
    """Do what the labelling platform YMIR asks for: train, infer, mine.

    The image of a container runs this command. It reads /in/env.yaml, or --env, and the parameters that it names, and
    writes models, boxes or a ranking, and how far it is, where env.yaml says.
    """
    set_up_output()
    from lmm_detector._ymir._package import PACKAGE

    return PACKAGE
