"""The run of a distillation: batches, checkpoints to resume from, evaluations."""

from __future__ import annotations

import functools
import hashlib
import io
import json
import logging
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from rbox_formats import files, images
from rbox_formats.progress import progress_bar, showing
from torch import Tensor

from rbox_baselines._configs import _load, _weights
from rbox_baselines._configs._quiet import quiet
from rbox_baselines._distillation._cache import Cache
from rbox_baselines._distillation._models import Pixels, Student, Teacher, difference, load_teacher
from rbox_baselines._distillation._pictures import draw
from rbox_baselines._distillation._processes import add, joined, place
from rbox_baselines._distillation._settings import Distillation
from rbox_baselines._prediction._device import check_device
from rbox_baselines.errors import CheckpointError, ConfigError, StackError

logger = logging.getLogger("rbox_baselines")

#: Steps whose losses are averaged in a line of the log.
_LOGGED = 10

#: Rows of a picture.
_SHOWN = 4

_NO_DECAY = ("A_log", "D", "pos_embed", "mask_token", "bias")


class _Image(NamedTuple):
    """An image as the models see it.

    Attributes:
        pixels: (3, side, side) from 0 to 255, red first, padded with zeros at the right and at the bottom.
        size: Its height and width before it was padded.
        content: What its pixels hash to.
    """

    pixels: Tensor
    size: tuple[int, int]
    content: bytes


def distill(
    config: str | Path,
    teacher: str | Path,
    image_files: Sequence[str | Path],
    out: str | Path,
    settings: Distillation | None = None,
    *,
    options: Mapping[str, Any] | None = None,
    cache: str | Path | None = None,
    cache_limit: int = 50_000_000_000,
    device: str | None = None,
    amp: bool = False,
    restart: bool = False,
    progress: bool = False,
) -> Path:
    """Teach a backbone the feature maps of a larger model, from images without labels.

    A run that was stopped at any instant resumes from its last checkpoint when it is given again, and ends with the
    same weights as one that was not stopped. The processes of torchrun share each batch: up to rounding, and where the
    backbone itself draws nothing, the weights are those of one process.

    >>> from rbox_baselines import distill
    >>> from rbox_formats.images import find_images
    >>> distill("mask-rcnn-rsmamba-base", "sam-vit-base", find_images("scenes"), "distilled")  # doctest: +SKIP

    Args:
        config: A preset, a detector on RSMamba, a config of MMRotate's zoo, or a file: its backbone is the student.
        teacher: A folder or hub name of transformers' SAM, or a checkpoint of a detector.
        image_files: The images.
        out: The folder of the results: `backbone.pth`, `log.jsonl`, and a picture of features for each evaluation.
        settings: Those of the run. None: the defaults.
        options: Settings that replace the config's, by dotted names such as "model.backbone.arch".
        cache: A folder for the teacher's maps, in float16. None: they are computed each time.
        cache_limit: How many bytes the folder may have.
        device: The device, such as "cpu" or "cuda:0". None: the GPU, where there is one.
        amp: Computes in bfloat16 where that is safe, on a GPU.
        restart: Starts again from the beginning, where there is a run to resume.
        progress: Shows a progress bar on standard error.

    Returns:
        The file with the student's weights, which `train --backbone` takes.

    Raises:
        RboxError: If settings, models, images or the run to resume do not fit together.
    """
    settings = settings or Distillation()
    settings.check()
    out = Path(out)
    files.require_writable(out)
    with showing(progress), joined(device) as own_device:
        device = check_device(own_device)
        if amp and not device.startswith("cuda"):
            raise StackError("expected a GPU for half precision, found none", remedy="Leave --amp out.")
        paths = [Path(path) for path in image_files]
        images.refuse(list(images.find_broken(paths).values()))
        trained_on, held_out = _split(paths, settings)
        found = load_teacher(teacher, device)
        run = _Run(_student_config(config, options), found, settings, out, device, amp)
        maps = None if cache is None else Cache(Path(cache), cache_limit, run.cache_key, place()[1])
        identity = settings.identity(
            [("student", run.student_name), ("teacher", found.fingerprint), ("images", [path.name for path in paths])]
        )
        run.start(None if restart else _read(out / "last.pth", identity), identity)
        run.run(trained_on, held_out, maps)
    return out / "backbone.pth"


def _split(paths: Sequence[Path], settings: Distillation) -> tuple[list[Path], list[Path]]:
    """Return the images to learn from, and those to evaluate on."""
    order = np.random.default_rng(settings.seed).permutation(len(paths))
    held_out = [paths[index] for index in sorted(order[: settings.held_out])]
    trained_on = [paths[index] for index in sorted(order[settings.held_out :])]
    if not trained_on:
        raise ConfigError(
            f"expected more than {settings.held_out} images, which are held out, got {len(paths)}",
            remedy="Hold out fewer: --held-out.",
        )
    return trained_on, held_out


@functools.lru_cache(maxsize=4)
def _order(seed: int, round_: int, count: int) -> np.ndarray:
    """Return the order of the images in a round."""
    return np.random.default_rng((seed, round_)).permutation(count)


def _student_config(config: str | Path, options: Mapping[str, Any] | None) -> Any:
    """Return the config of a student without weights from elsewhere."""
    found = _load.load_model(config)
    if options:
        found.merge_from_dict(dict(options))
    if "backbone" not in found.model:
        raise ConfigError(f"expected a config with a backbone, got {config} without")
    return _weights.without_pretrained(found)


def _read(path: Path, identity: str) -> dict[str, Any] | None:
    """Return the checkpoint to resume from, if there is one.

    Raises:
        CheckpointError: If it is broken, or of a run with other settings.
    """
    from rbox_baselines._checkpoints import read_checkpoint

    if not path.is_file():
        return None
    saved = read_checkpoint(path)
    if saved.get("identity") != identity:
        raise CheckpointError(
            "expected the run that is resumed to have these settings, images and models, got others",
            path=path,
            remedy="Choose another --out, or start again: --restart.",
        )
    return saved


def _write(path: Path, content: Any) -> None:
    """Write a file of tensors; of equal content the bytes are equal, too."""
    buffer = io.BytesIO()  # into a file torch writes its name as well, which is a temporary one
    torch.save(content, buffer)
    with files.replacing(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())


class _Run:
    """A student, its teacher, and how far they are."""

    def __init__(
        self, config: Any, teacher: Teacher, settings: Distillation, out: Path, device: str, amp: bool
    ) -> None:
        from mmrotate.registry import MODELS

        self._teacher, self._settings, self._out, self._device, self._amp = teacher, settings, out, device, amp
        if None not in (teacher.side, settings.image_size) and teacher.side != settings.image_size:
            raise ConfigError(f"expected images of {teacher.side} px, the teacher's own, got {settings.image_size} px")
        self._rank, self._count = place()
        if settings.batch_size < self._count:
            raise ConfigError(
                f"expected an image or more for each of {self._count} processes in a batch, got {settings.batch_size}",
                remedy="Choose a larger --batch-size, or start fewer processes.",
            )
        self._side = settings.image_size or teacher.side or 1024
        self._layers = [layer for _, layer in settings.layers]
        self.student_name = json.dumps(config.model.backbone.to_dict(), sort_keys=True, default=str)
        self.cache_key = f"{teacher.fingerprint} {self._side} {self._layers}"
        torch.manual_seed(settings.seed)
        blank = torch.zeros(1, 3, self._side, self._side, device=device)
        with torch.no_grad():
            maps = teacher(blank, blank[:, :1], self._layers)
        backbone = MODELS.build(config.model.backbone)
        with quiet():  # a line for each weight
            backbone.init_weights()
        self._student = Student(backbone, Pixels.of(config), settings, maps, self._side)
        self._student.train()
        learning = [(name, each) for name, each in self._student.named_parameters() if each.requires_grad]
        plain = [each for name, each in learning if each.ndim < 2 or name.rpartition(".")[2] in _NO_DECAY]
        others = [each for name, each in learning if not (each.ndim < 2 or name.rpartition(".")[2] in _NO_DECAY)]
        groups = [{"params": others, "weight_decay": settings.weight_decay}, {"params": plain, "weight_decay": 0.0}]
        self._optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate)
        self._step = 0
        self._identity = ""

    def start(self, saved: dict[str, Any] | None, identity: str) -> None:
        """Begin, or take up a checkpoint."""
        self._identity = identity
        kept = []
        if saved is not None:
            self._student.load_state_dict(saved["state_dict"])
            self._optimizer.load_state_dict(saved["optimizer"])
            self._step = saved["step"]
            logger.info("resuming from step %s of %s", self._step, self._settings.steps)
            log = self._out / "log.jsonl"
            lines = log.read_text().splitlines(keepends=True) if log.is_file() else []
            whole = [line for line in lines if line.endswith("\n")]  # a killed run may have written half of the last
            kept = [line for line in whole if json.loads(line)["step"] <= self._step]
        if self._rank == 0:
            self._out.mkdir(parents=True, exist_ok=True)
            files.write_text(self._out / "log.jsonl", "".join(kept))

    def run(self, trained_on: Sequence[Path], held_out: Sequence[Path], cache: Cache | None) -> None:
        """Run the steps that are left, and write the backbone."""
        settings = self._settings
        losses: list[float] = []
        since, seen = time.perf_counter(), 0
        with progress_bar("distilling", settings.steps) as advance:
            advance(self._step)
            for batch in self._batches(trained_on):
                losses.append(self._learn(batch, cache))
                self._step += 1
                seen += settings.batch_size
                if self._step % _LOGGED == 0 or self._step == settings.steps:
                    loss, rate = sum(losses) / len(losses), seen / (time.perf_counter() - since)
                    mask, noise = self._shares(self._step - 1)
                    self._log(loss=loss, learning_rate=self._rate(self._step - 1), mask=mask, noise=noise,
                              images_per_second=round(rate, 2))  # fmt: skip
                    advance(min(_LOGGED, len(losses)), f"loss {loss:.4f}, {rate:.1f} images/s")
                    losses, since, seen = [], time.perf_counter(), 0
                if self._rank > 0:
                    continue
                if held_out and (self._step % settings.evaluate_every == 0 or self._step == settings.steps):
                    self._evaluate(held_out, cache)
                if self._step % settings.save_every == 0 or self._step == settings.steps:
                    self._save()
        if self._rank > 0:
            return
        weights = {name: each.cpu() for name, each in self._student.backbone.state_dict().items()}
        _write(self._out / "backbone.pth", {"state_dict": weights, "meta": {"distillation": self._identity}})

    def _batches(self, paths: Sequence[Path]) -> Iterator[list[_Image]]:
        """Yield the batches that are left; the next is read while one is learnt from."""
        with ThreadPoolExecutor(self._settings.workers, "distill") as pool:
            ahead: list[list[Future[_Image]]] = []
            for step in range(self._step, self._settings.steps):
                ahead.append([pool.submit(self._open, paths[index]) for index in self._indices(step, len(paths))])
                if len(ahead) == 2:
                    yield [each.result() for each in ahead.pop(0)]
            while ahead:
                yield [each.result() for each in ahead.pop(0)]

    def _indices(self, step: int, count: int) -> list[int]:
        """Return which images this process learns from in a step: each once in a round, in an order by the seed."""
        size, seed = self._settings.batch_size, self._settings.seed
        places = range(step * size, (step + 1) * size)[self._rank :: self._count]
        return [int(_order(seed, place // count, count)[place % count]) for place in places]

    def _open(self, path: Path) -> _Image:
        from PIL import Image

        pixels = Image.fromarray(images.load(path))
        scale = self._side / max(pixels.size)
        width, height = (max(1, round(side * scale)) for side in pixels.size)
        array = np.asarray(pixels.resize((width, height), Image.Resampling.BILINEAR))
        padded = torch.zeros(3, self._side, self._side)
        padded[:, :height, :width] = torch.from_numpy(array.copy()).permute(2, 0, 1)
        content = hashlib.sha256(f"{array.shape}".encode() + array.tobytes()).digest()
        return _Image(padded, (height, width), content)

    def _stacked(self, batch: Sequence[_Image]) -> tuple[Tensor, Tensor]:
        """Return images (N, 3, side, side), and where they are not padded (N, 1, side, side)."""
        valid = torch.zeros(len(batch), 1, self._side, self._side)
        for number, image in enumerate(batch):
            valid[number, :, : image.size[0], : image.size[1]] = 1
        return torch.stack([image.pixels for image in batch]).to(self._device), valid.to(self._device)

    def _taught(self, batch: Sequence[_Image], pixels: Tensor, valid: Tensor, cache: Cache | None) -> list[Tensor]:
        """Return the teacher's maps of a batch, in half precision and back, whether they are cached or not."""
        known = [None if cache is None else cache.read(image.content) for image in batch]
        missing = [number for number, maps in enumerate(known) if maps is None]
        if missing:
            with self._precision():
                found = self._teacher(pixels[missing], valid[missing], self._layers)
            for place, number in enumerate(missing):
                maps = [each[place] for each in found]
                if cache is not None:
                    cache.write(batch[number].content, maps)
                known[number] = [each.half().cpu() for each in maps]
        columns = zip(*(maps for maps in known if maps is not None), strict=True)
        return [torch.stack(column).to(self._device).float() for column in columns]

    def _precision(self) -> Any:
        return torch.autocast("cuda", torch.bfloat16) if self._amp else nullcontext()

    def _learn(self, batch: Sequence[_Image], cache: Cache | None) -> float:
        for group in self._optimizer.param_groups:
            group["lr"] = self._rate(self._step)
        pixels, valid = self._stacked(batch)
        wanted = self._taught(batch, pixels, valid, cache)
        mask, noise = self._shares(self._step)
        # Of their own for each image of each step: a resumed run draws what the others did, and so do more processes.
        size, seed = self._settings.batch_size, self._settings.seed * 1_000_003 + self._step
        numbers = range(size)[self._rank :: self._count]
        generators = [torch.Generator().manual_seed(seed * size + number) for number in numbers]
        torch.manual_seed(seed * self._count + self._rank)  # for what the backbone draws itself
        with self._precision():
            found = self._student(pixels, valid, mask, noise, generators)
        loss = difference(found, wanted, valid, self._settings) * (len(batch) / size)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        loss = loss.detach()
        add([loss, *(each.grad for each in self._student.parameters() if each.grad is not None)])
        if not torch.isfinite(loss):
            raise StackError(
                f"expected a loss that is a number, got {loss.item()} at step {self._step + 1}",
                remedy="Choose a lower --learning-rate.",
            )
        torch.nn.utils.clip_grad_norm_(self._student.parameters(), 1.0)
        self._optimizer.step()
        return loss.item()

    def _rate(self, step: int) -> float:
        steps = self._settings.steps
        warm = max(1, steps // 20)
        share = (step + 1) / warm if step < warm else (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm))) / 2
        return self._settings.learning_rate * share

    def _shares(self, step: int) -> tuple[float, float]:
        """Return the shares that are masked and noise at a step."""
        done = step / max(1, self._settings.steps - 1)
        left = {"constant": 1.0, "linear": 1 - done, "cosine": (1 + math.cos(math.pi * done)) / 2}
        share = left[self._settings.schedule]
        return self._settings.mask * share, self._settings.noise * share

    @torch.no_grad()
    def _evaluate(self, paths: Sequence[Path], cache: Cache | None) -> None:
        """Compare whole images that were held out, and draw the first of them."""
        self._student.eval()
        total, shown = 0.0, None
        size = self._settings.batch_size
        for start in range(0, len(paths), size):
            batch = [self._open(path) for path in paths[start : start + size]]
            pixels, valid = self._stacked(batch)
            wanted = self._taught(batch, pixels, valid, cache)
            with self._precision():
                found = self._student(pixels, valid)
            total += difference(found, wanted, valid, self._settings).item() * len(batch)
            shown = shown or (pixels[:_SHOWN], wanted[0][:_SHOWN], found[0][:_SHOWN])
        self._student.train()
        self._log(held_out_loss=total / len(paths))
        assert shown is not None
        draw(*shown, self._out / f"features-{self._step}.png")

    def _log(self, **values: Any) -> None:
        if self._rank > 0:
            return
        with (self._out / "log.jsonl").open("a") as file:
            file.write(json.dumps({"step": self._step, **values}) + "\n")

    def _save(self) -> None:
        content = {
            "state_dict": self._student.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "step": self._step,
            "identity": self._identity,
        }
        _write(self._out / "last.pth", content)
