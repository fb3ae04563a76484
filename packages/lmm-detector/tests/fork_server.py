"""A process that has imported what `lmm-detector` imports, and forks one that runs a command whenever it is told to.

An interpreter of its own would spend ten seconds of every command on imports. This one imports, and does nothing else:
what commands have in common is code, and what a stopped one left is on disk.

Requests and answers are lines of JSON: `{"fork": [arguments, folder, environment, output file]}` is answered by the
process's number, `{"wait": number, "block": whether}` by its exit code, null where it still runs.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from typing import Any

# Of what a command imports when it trains or predicts, all that takes long.
IMPORTS = [
    *("lmm_detector.cli._common", "lmm_detector._training._train", "lmm_detector._prediction._predict"),
    *("torch.distributed", "torch._dynamo", "rich.progress", "PIL.PngImagePlugin"),
    *("transformers.models.florence2.modeling_florence2", "transformers.models.florence2.processing_florence2"),
    *("transformers.models.bart.modeling_bart", "transformers.models.clip.image_processing_pil_clip"),
]


def serve() -> None:
    """Answers until there are no more requests."""
    for name in IMPORTS:
        importlib.import_module(name)
    for line in sys.stdin:
        request = json.loads(line)
        answer = fork(*request["fork"]) if "fork" in request else exit_code(request["wait"], request["block"])
        print(json.dumps(answer), flush=True)


def exit_code(pid: int, block: bool) -> int | None:
    """Of a process that was forked here; minus the signal where one ended it."""
    ended, status = os.waitpid(pid, 0 if block else os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if ended else None


def fork(arguments: list[str], folder: str, environment: dict[str, str], output: str) -> int:
    """Runs a command in a process of its own; its standard output and error go to a file."""
    if pid := os.fork():
        return pid
    code: Any = 1
    try:
        nothing, file = os.open(os.devnull, os.O_RDONLY), os.open(output, os.O_WRONLY | os.O_CREAT)
        for number, target in enumerate((nothing, file, file)):
            os.dup2(target, number)
        os.chdir(folder)
        os.environ.update(environment)
        from lmm_detector.cli.main import main

        main(arguments)
    except SystemExit as end:
        code = end.code
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:  # nothing of the server's may go on in the process
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else bool(code))


if __name__ == "__main__":
    serve()
