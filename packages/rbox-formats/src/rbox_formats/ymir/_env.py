"""What the platform asks for: env.yaml, and the lists of images that it names."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from rbox_formats import files
from rbox_formats.errors import DatasetError, quoted, said
from rbox_formats.parsing.lines import read_text, split_lines
from rbox_formats.ymir._errors import TaskError
from rbox_formats.ymir._paths import below

ENV_VARIABLE, CONFIG_VARIABLE = "DEFAULT_ENV_FILE_PATH", "DEFAULT_CONFIG_FILE_PATH"
_ENV = "/in/env.yaml"
_LONGEST = 10_000_000  # bytes of a YAML file


@dataclass(frozen=True)
class Input:
    """Where the platform put what is read; all below `root_dir`.

    >>> from rbox_formats import ymir
    >>> ymir.Input().assets_dir.as_posix()
    '/in/assets'

    Attributes:
        root_dir: The folder of all inputs, which is read-only.
        assets_dir: The images.
        annotations_dir: The annotation files.
        models_dir: The weights to start from.
        config_file: The task's parameters.
        training_index_file: The images to train on, with their annotations; None outside of training.
        val_index_file: The images to score on; None outside of training.
        candidate_index_file: The images to infer on or to rank; None in training.
    """

    root_dir: Path = Path("/in")
    assets_dir: Path = Path("/in/assets")
    annotations_dir: Path = Path("/in/annotations")
    models_dir: Path = Path("/in/models")
    config_file: Path = Path("/in/config.yaml")
    training_index_file: Path | None = Path("/in/train-index.tsv")
    val_index_file: Path | None = Path("/in/val-index.tsv")
    candidate_index_file: Path | None = Path("/in/candidate-index.tsv")


@dataclass(frozen=True)
class Output:
    """Where the platform looks for what is written; all below `root_dir`.

    >>> from rbox_formats import ymir
    >>> ymir.Output().monitor_file.as_posix()
    '/out/monitor.txt'

    Attributes:
        root_dir: The folder of all outputs; nothing is written elsewhere.
        models_dir: The stages of a training.
        tensorboard_dir: TensorBoard's files.
        training_result_file: The list of the stages.
        mining_result_file: The ranking.
        infer_result_file: The boxes.
        monitor_file: How far the task is.
        executor_log_file: The platform's own log of the container.
    """

    root_dir: Path = Path("/out")
    models_dir: Path = Path("/out/models")
    tensorboard_dir: Path = Path("/out/tensorboard")
    training_result_file: Path = Path("/out/models/result.yaml")
    mining_result_file: Path = Path("/out/result.tsv")
    infer_result_file: Path = Path("/out/infer-result.json")
    monitor_file: Path = Path("/out/monitor.txt")
    executor_log_file: Path = Path("/out/ymir-executor-out.log")


@dataclass(frozen=True)
class Env:
    """What env.yaml says.

    >>> from rbox_formats import ymir
    >>> ymir.Env(run_mining=True).output.mining_result_file.name
    'result.tsv'

    Attributes:
        task_id: The platform's name of the task.
        protocol_version: Such as "1.1.0"; "0.0.1" where the file has none, as before YMIR 1.3.
        run_training: Whether to train.
        run_mining: Whether to rank the candidates.
        run_infer: Whether to detect on the candidates.
        input: Where the inputs are.
        output: Where the outputs go.
    """

    task_id: str = ""
    protocol_version: str = "0.0.1"
    run_training: bool = False
    run_mining: bool = False
    run_infer: bool = False
    input: Input = field(default_factory=Input)
    output: Output = field(default_factory=Output)

    @property
    def is_old(self) -> bool:
        """Whether the platform is older than protocol 1.0.0, whose results have other keys."""
        parts = [int(part) if part.isdigit() else 0 for part in self.protocol_version.split(".")]
        return parts < [1]


def read_env(path: str | Path | None = None) -> Env:
    """Read env.yaml.

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from rbox_formats import ymir
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder) / "env.yaml"
    ...     _ = path.write_text(f"{{run_training: true, input: {{root_dir: {folder}, assets_dir: assets}}}}")
    ...     env = ymir.read_env(path)
    ...     env.run_training, env.input.assets_dir.relative_to(folder).as_posix()
    (True, 'assets')

    Args:
        path: The file. None: what the variable DEFAULT_ENV_FILE_PATH names, else /in/env.yaml.

    Raises:
        TaskError: If it cannot be read, has a value of another kind, or names a path outside of its folders.
    """
    try:
        path = files.as_path(path or os.environ.get(ENV_VARIABLE) or _ENV)
    except DatasetError as error:
        raise TaskError("config", str(error)) from error
    found = read_mapping(path)
    flags: dict[str, Any] = {}
    for name in ("run_training", "run_mining", "run_infer"):
        flags[name] = found.get(name) or False
        if not isinstance(flags[name], bool):
            raise TaskError("config", f"expected {name} as true or false, got {quoted(flags[name])}", path=path)
    return Env(
        task_id=str(found.get("task_id") or ""),
        protocol_version=str(found.get("protocol_version") or Env.protocol_version),
        input=_places(Input, found.get("input"), path),
        output=_places(Output, found.get("output"), path),
        **flags,
    )


def read_candidates(env: Env) -> dict[str, Path]:
    """Read the list of the images of mining and inference: each as the list names it, and the file that it is.

    >>> from rbox_formats import ymir
    >>> ymir.read_candidates(ymir.read_env("/in/env.yaml"))  # doctest: +SKIP
    {'/in/assets/02/1c5c.jpg': PosixPath('/in/assets/02/1c5c.jpg')}

    Args:
        env: What `read_env` gave.

    Raises:
        TaskError: If there is no list, an image is not there, or two have one base name, by which the platform tells
            them apart.
    """
    index = env.input.candidate_index_file
    if index is None or not index.is_file():
        raise TaskError("dataset", "expected a list of candidates, found none", path=index or env.input.root_dir)
    found: dict[str, Path] = {}
    stems: dict[str, str] = {}
    for number, line in enumerate(split_lines(read_text(index)), start=1):
        text = line.partition("\t")[0].strip()
        if not text:
            continue
        try:
            path = below(text, env.input.root_dir)
        except DatasetError as error:
            raise DatasetError(str(error), path=index, line=number) from error
        if not path.is_file():
            raise TaskError("image", f"expected an image {path}, found none", path=index, line=number)
        if stems.setdefault(path.stem, text) != text:
            names = f"{quoted(stems[path.stem])} and {quoted(text)}"
            raise TaskError("dataset", f"expected images of different names, got {names}", path=index, line=number)
        found[text] = path
    return found


def read_mapping(path: Path) -> Mapping[str, Any]:
    """Return the keys and values of a YAML file; nothing of it is run.

    Raises:
        TaskError: If it cannot be read, or is no mapping.
    """
    import yaml

    try:
        with files.reaching(path, "a file of YAML"):
            is_long = path.is_file() and path.stat().st_size > _LONGEST
        if is_long:
            raise TaskError("config", f"expected at most {_LONGEST} bytes of YAML, got more", path=path)
        found = yaml.safe_load(read_text(path))
    except DatasetError as error:
        raise TaskError("config", str(error)) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise TaskError("config", f"expected YAML, got: {said(error)}", path=path) from error
    if not isinstance(found, dict):
        raise TaskError("config", f"expected keys and values, got {quoted(found)}", path=path)
    return {str(key): value for key, value in found.items()}


def _places(kind: Any, values: Any, path: Path) -> Any:
    """Return the paths of a section, those that are not given below its own root."""
    if not isinstance(values, dict | None):
        raise TaskError("config", f"expected paths by their names, got {quoted(values)}", path=path)
    given = dict(values or {})
    defaults: dict[str, Any] = {each.name: each.default for each in fields(kind)}
    for name in defaults:
        if not isinstance(given.get(name), str | None):
            raise TaskError("config", f"expected a path for {name}, got {quoted(given[name])}", path=path)
    root = Path(given.get("root_dir") or defaults["root_dir"])
    if not root.is_absolute() or ".." in root.parts:
        raise TaskError("config", f"expected an absolute root_dir, got {quoted(str(root))}", path=path)
    found: dict[str, Path | None] = {}
    for name, default in defaults.items():
        text = given.get(name)
        if name == "root_dir":
            found[name] = root
        elif text == "" and name.endswith("index_file"):
            found[name] = None
        elif not text:
            found[name] = root / default.relative_to(defaults["root_dir"])
        else:
            try:
                found[name] = below(text, root)
            except DatasetError as error:
                raise TaskError("config", f"{name}: {error}", path=path) from error
    return kind(**found)
