"""The contract between YMIR, a platform that labels, trains, infers and mines, and the image that computes for it.

The platform starts a container with a read-only `/in` and a writable `/out`. `read_env` and `read_config` read what it
asks for, `Monitor` tells how far the task is, and `TrainingResult`, `write_infer_result` and `write_mining_result`
write what it reads at the end. Sources: IndustryEssentials/ymir at 6944468, modelai/ymir-executor-sdk at 8bfd731.
"""

from rbox_formats.ymir._config import PLATFORM_KEYS, TaskConfig, read_config
from rbox_formats.ymir._env import Env, Input, Output, read_candidates, read_env
from rbox_formats.ymir._errors import CODES, TaskError, code_of
from rbox_formats.ymir._monitor import Monitor, Part
from rbox_formats.ymir._parameters import fill, parameter, template
from rbox_formats.ymir._paths import MOUNT, below
from rbox_formats.ymir._results import (
    Stage,
    TrainingResult,
    rectangle,
    stage_name,
    write_infer_result,
    write_mining_result,
)

__all__ = [
    "CODES",
    "MOUNT",
    "PLATFORM_KEYS",
    "Env",
    "Input",
    "Monitor",
    "Output",
    "Part",
    "Stage",
    "TaskConfig",
    "TaskError",
    "TrainingResult",
    "below",
    "code_of",
    "fill",
    "parameter",
    "read_candidates",
    "read_config",
    "read_env",
    "rectangle",
    "stage_name",
    "template",
    "write_infer_result",
    "write_mining_result",
]
