"""Trains the small detector that comes with lmm-detector: a stock Florence-2 of three million parameters, from nothing.

    hatch run python tools/train_demo_detector.py --out runs/demo-detector

It draws scenes of `rbox_formats.synthetic.VARIED`, and teaches in two stages:

1. the image encoder, projection and text encoder by a dense head (`_demo_teaching.AnswerHead`), which is thrown away:
   through the text alone the way from pixels to image tokens is learnt a hundred times more slowly,
2. everything by the texts, numbers with targets spread over their neighbours, the dense head at its side.

Then it is scored on 500 scenes that neither stage has seen, and `model/` is written: a detector for
`Detector.from_pretrained`, in half precision, with its card. `log.jsonl` has a line for each evaluation on the way.

It can be stopped at any instant, and resumes when the command is given again, with more or fewer steps if wanted: each
step's scenes are drawn from the seed and its number, and the learning rate is a function of step and steps.
`--finish` writes `model/` from the newest checkpoint, without further training.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from _demo_card import card, commit, machine
from _demo_model import ANGLES, CELL, NUMBERS, SIDE, save_model
from _demo_teaching import Answered, AnswerHead, Numbers, Pointing, encoded, whereabouts
from lmm_detector import Detector, _families
from lmm_detector._families import Sample
from lmm_detector._prediction._generation import Generation
from lmm_detector._spec import DetectorSpec
from lmm_detector._training._augmentation import Change
from rbox_formats import ImageRecord, codecs, files, synthetic
from rbox_formats.cli import Group
from rbox_metrics import Report, evaluate
from safetensors.torch import load_file, save_file

LOOK = synthetic.VARIED
CHUNK = 500  # scenes in a file
FIRST_TRAIN, FIRST_HELD_OUT, FIRST_TEST = 0, 10_000_000, 20_000_000  # the first seed of each
HELD_OUT, TEST = 200, 500
_TIMED = 20  # scenes
CODEC = codecs.get("plain")
LONGEST = 72  # tokens of an answer with five objects, and some


@dataclass(frozen=True)
class Plan:
    """How long each stage is, and how fast it learns.

    Attributes:
        vision_steps: Number of steps of the first stage.
        text_steps: Number of steps of the second stage.
        batch: Scenes to a step.
        vision_rate: AdamW's learning rate of the first stage.
        text_rate: AdamW's learning rate of the second stage.
        dense_weight: Weight of the dense head's losses in the second stage.
        point_weight: Weight of the loss of where the decoder looks.
        seed: Seed of the first weights and of the scenes of each step.
    """

    vision_steps: int
    text_steps: int
    batch: int
    vision_rate: float
    text_rate: float
    dense_weight: float
    point_weight: float
    seed: int

    @property
    def steps(self) -> int:
        """Of both stages."""
        return self.vision_steps + self.text_steps

    def rate(self, step: int) -> float:
        """Return the learning rate: it rises over a few steps, stays, and falls over the last third of a stage."""
        if step < self.vision_steps:
            done, count, top, least = step, self.vision_steps, self.vision_rate, 0.3
        else:
            done, count, top, least = step - self.vision_steps, self.text_steps, self.text_rate, 0.02
        falling = min(1.0, (count - done) / max(1.0, 0.33 * count))
        return top * min(1.0, (done + 1) / 150) * (least + (1 - least) * falling)

    def averaging(self, step: int) -> float:
        """Return the share of the old averaged weights that a step keeps."""
        done = step if step < self.vision_steps else step - self.vision_steps
        return min(0.998, (1 + done) / (20 + done))


# The scenes.


def draw_chunk(path: Path, first: int) -> None:
    """Draw `CHUNK` scenes into a file."""
    pixels, boxes, labels, counts = [], [], [], []
    for seed in range(first, first + CHUNK):
        image, record = synthetic.scene(seed, LOOK)
        pixels.append(image)
        boxes.append(record.boxes)
        labels.append(record.labels)
        counts.append(len(record))
    with files.replacing(path) as temporary, temporary.open("wb") as file:
        arrays: dict[str, Any] = {
            "pixels": np.stack(pixels),
            "boxes": np.concatenate(boxes),
            "labels": np.concatenate(labels),
        }
        np.savez(file, counts=np.array(counts), **arrays)


def draw_chunks(folder: Path, numbers: list[int]) -> None:
    """Draw the chunks that are missing, until the process that asked for them is gone."""
    asked_by = os.getppid()
    os.nice(1)  # training goes first
    for number in numbers:
        path = folder / f"{number:05d}.npz"
        if os.getppid() != asked_by:
            return
        if not path.is_file():
            draw_chunk(path, FIRST_TRAIN + number * CHUNK)


class Scenes:
    """The scenes that have been drawn, in memory.

    Args:
        folder: The folder of the chunks.
        drawing: The processes that draw them.
    """

    def __init__(self, folder: Path, drawing: Sequence[Any] = ()) -> None:
        self.folder, self.drawing = folder, drawing
        self.chunks: list[tuple[np.ndarray, list[ImageRecord]]] = []

    def require(self, count: int) -> None:
        """Take the first chunks, and wait for those that are not there yet."""
        while len(self.chunks) < count:
            path = self.folder / f"{len(self.chunks):05d}.npz"
            while not path.is_file():
                if not any(process.is_alive() for process in self.drawing) and not path.is_file():
                    raise click.ClickException(f"expected scenes in {path}, found none, and nobody draws them")
                time.sleep(0.2)
            with np.load(path, allow_pickle=False) as found:
                ends = np.cumsum(found["counts"])[:-1]
                parts = zip(np.split(found["boxes"], ends), np.split(found["labels"], ends), strict=True)
                records = [
                    ImageRecord(image_id="scene", boxes=boxes, labels=labels, width=SIDE, height=SIDE)
                    for boxes, labels in parts
                ]
                self.chunks.append((found["pixels"], records))

    def draw(self, rng: np.random.Generator, limit: int) -> tuple[np.ndarray, ImageRecord]:
        """Return one of the first `limit` chunks' scenes, in one of the eight symmetries of the square."""
        pixels, records = self.chunks[rng.integers(limit)]
        number = rng.integers(CHUNK)
        change = Change(flip="horizontal" if rng.random() < 0.5 else None, turns=int(rng.integers(4)))
        return change.apply(pixels[number], records[number])


def seen_scenes(first: int, count: int) -> list[tuple[np.ndarray, ImageRecord]]:
    """Draw scenes to be scored on, named as `Detector.predict` names images in memory."""
    found = []
    for number in range(count):
        image, record = synthetic.scene(first + number, LOOK)
        found.append((image, replace(record, image_id=f"image-{number}")))
    return found


# What is taught.


@dataclass
class Learner:
    """The model with all that is learnt beside it, as a checkpoint holds them."""

    family: _families.Family
    head: AnswerHead
    numbers: Numbers
    optimiser: torch.optim.Optimizer
    averaged: dict[str, torch.Tensor]
    spec: DetectorSpec
    step: int = 0

    @classmethod
    def begin(cls, start: Path, spec: DetectorSpec, seed: int) -> Learner:
        """Return a learner that has learnt nothing yet."""
        family = _families.load(str(start))
        model, tokenizer = family.model, family.tokenizer
        table = model.get_input_embeddings().weight
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            head = AnswerHead(table.shape[1], len(spec.class_names), SIDE // CELL, SIDE)
        numbers, angles = (tokenizer.convert_tokens_to_ids(list(tokens)) for tokens in (NUMBERS, ANGLES))
        parameters = [*model.parameters(), *head.parameters()]
        groups = [
            {"params": [p for p in parameters if p.ndim >= 2 and p is not table], "weight_decay": 0.02},
            {"params": [p for p in parameters if p.ndim < 2 or p is table], "weight_decay": 0.0},
        ]
        optimiser = torch.optim.AdamW(groups, betas=(0.9, 0.98))
        learner = cls(family, head, Numbers(numbers, angles, len(table)), optimiser, {}, spec)
        learner.averaged = {name: value.detach().clone() for name, value in learner.weights().items()}
        return learner

    def weights(self) -> dict[str, torch.Tensor]:
        """Return the parameters of model and head by name."""
        modules = (("model", self.family.model), ("head", self.head))
        return {f"{name}.{own}": value for name, module in modules for own, value in module.named_parameters()}

    def save(self, path: Path) -> None:
        """Write a checkpoint, whole or not at all."""
        state = {
            "step": self.step,
            "weights": {name: value.detach() for name, value in self.weights().items()},
            "averaged": self.averaged,
            "optimiser": self.optimiser.state_dict(),
        }
        with files.replacing(path) as temporary:
            torch.save(state, temporary)

    def resume(self, path: Path) -> None:
        """Load the state that a checkpoint holds."""
        state = torch.load(path, weights_only=True)
        own = self.weights()
        with torch.no_grad():
            for name, value in state["weights"].items():
                own[name].copy_(value)
        self.averaged = state["averaged"]
        self.optimiser.load_state_dict(state["optimiser"])
        self.step = int(state["step"])

    @contextmanager
    def at_their_average(self) -> Iterator[None]:
        """Put the averaged weights into the model, in evaluation mode, and restore its own weights at the end."""
        kept = {name: value.detach().clone() for name, value in self.weights().items()}
        modules = (self.family.model, self.head)
        self._put(self.averaged)
        for module in modules:
            module.eval()
        try:
            yield
        finally:
            self._put(kept)
            for module in modules:
                module.train()

    def _put(self, values: Mapping[str, torch.Tensor]) -> None:
        with torch.no_grad():
            for name, parameter in self.weights().items():
                parameter.copy_(values[name])

    def losses(self, scenes: list[tuple[np.ndarray, ImageRecord]], *, with_text: bool) -> dict[str, torch.Tensor]:
        """Return the losses on scenes, by name."""
        spec, model = self.spec, self.family.model
        samples, image, ranks = [], [], []
        for number, (pixels, record) in enumerate(scenes):
            shapes, labels = record.boxes, record.labels
            order = CODEC.order(shapes, labels, spec.class_names, record.size, by="position")
            text = CODEC.encode(shapes, labels, spec.class_names, record.size, order=order)
            samples.append(Sample(pixels, text, complete=True))
            ranks.append(np.argsort(order))
            image += [number] * len(record)
        objects = Answered(
            torch.tensor(image, dtype=torch.int64),
            torch.from_numpy(np.concatenate([record.boxes for _, record in scenes])).float(),
            torch.from_numpy(np.concatenate([record.labels for _, record in scenes])),
            torch.from_numpy(np.concatenate(ranks).astype(np.int64)),
        )
        inputs = self.family.on_device(self.family.collate(samples, spec.prompt))
        labels = inputs.pop("labels")
        table, count = model.get_input_embeddings().weight, self.head.cells**2
        if not with_text:
            features = encoded(model, inputs)[:, 1 : 1 + count]  # the first one is their mean
            return self.head.losses(features, objects, self.numbers, table)
        with Pointing(model.model.language_model.decoder) as pointing:
            found = model.model(**inputs, use_cache=False)
            places = 1 + objects.places(self.head.cells, self.head.side)
            point = pointing.loss(whereabouts(labels, self.numbers.is_angle, objects, places))
        features = found.encoder_last_hidden_state[:, 1 : 1 + count]
        losses = self.head.losses(features, objects, self.numbers, table)
        kept = labels >= 0
        logits = model.lm_head(found.last_hidden_state[kept])
        return losses | {"point": point, "text": self.numbers.loss(logits, labels[kept])}

    def learn(self, scenes: list[tuple[np.ndarray, ImageRecord]], plan: Plan) -> dict[str, float]:
        """Update the weights once, and return the losses."""
        with_text = self.step >= plan.vision_steps
        for group in self.optimiser.param_groups:
            group["lr"] = plan.rate(self.step)
        losses = self.losses(scenes, with_text=with_text)
        of_dense = plan.dense_weight if with_text else 1.0
        weights = {"text": 1.0, "point": plan.point_weight}
        total = torch.stack([weights.get(name, of_dense) * value for name, value in losses.items()]).sum()
        if not math.isfinite(float(total.detach())):
            raise click.ClickException(f"expected a finite loss, got {float(total.detach())} at step {self.step}")
        total.backward()
        parameters = [p for group in self.optimiser.param_groups for p in group["params"]]
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        stays = plan.averaging(self.step)
        with torch.no_grad():
            for name, value in self.weights().items():
                self.averaged[name].lerp_(value, 1 - stays)
        self.step += 1
        return {name: float(value.detach()) for name, value in losses.items()}

    def detect_densely(self, scenes: list[tuple[np.ndarray, ImageRecord]]) -> list[ImageRecord]:
        """Return the boxes that the dense head finds."""
        found = []
        for at in range(0, len(scenes), 50):
            part = scenes[at : at + 50]
            samples = [Sample(pixels, "", complete=True) for pixels, _ in part]
            inputs = self.family.on_device(self.family.collate(samples, self.spec.prompt))
            inputs.pop("labels")
            with torch.inference_mode():
                features = encoded(self.family.model, inputs)[:, 1 : 1 + self.head.cells**2]
                detected = self.head.detect(features)
            for (_, record), (boxes, labels, scores) in zip(part, detected, strict=True):
                found.append(ImageRecord(record.image_id, boxes.numpy(), labels.numpy(), scores=scores.numpy()))
        return found

    def detect(self, scenes: list[tuple[np.ndarray, ImageRecord]], scores: str = "none") -> list[Any]:
        """Predict as a user does, by the texts."""
        detector = Detector(self.family, self.spec, CODEC, fingerprint=f"step {self.step}")
        generation = Generation(batch_size=50, max_new_tokens=LONGEST, scores=scores, first_tokens=0)
        return list(detector.predict([pixels for pixels, _ in scenes], generation))


# The run.


@click.group(cls=Group, invoke_without_command=True)
@click.option("--out", type=Path, default=Path("runs/demo-detector"), show_default=True, help="The folder.")
@click.option("--vision-steps", default=1000, show_default=True, help="Of the first stage.")
@click.option("--text-steps", default=14000, show_default=True, help="Of the second.")
@click.option("--batch", default=32, show_default=True, help="Scenes to a step.")
@click.option("--vision-rate", default=1.5e-3, show_default=True, help="Learning rate of the first stage.")
@click.option("--text-rate", default=1e-3, show_default=True, help="Learning rate of the second.")
@click.option("--dense-weight", default=0.5, show_default=True, help="Of the dense head in the second stage.")
@click.option("--point-weight", default=0.3, show_default=True, help="Of showing the decoder where to look.")
@click.option("--scenes", default=40_000, show_default=True, help="To draw; training begins with the first of them.")
@click.option("--workers", default=1, show_default=True, help="Processes that draw.")
@click.option("--threads", default=1, show_default=True, help="Of PyTorch: more of them wait for each other.")
@click.option("--eval-every", default=400, show_default=True, help="Steps between evaluations.")
@click.option("--save-every", default=50, show_default=True, help="Steps between checkpoints.")
@click.option("--seed", default=0, show_default=True, help="Seed of the first weights and of the scenes of each step.")
@click.option(
    "--stop-after", type=float, default=None, help="Minutes after which training stops; the same command resumes it."
)
@click.option("--finish", is_flag=True, help="Write the detector from the newest checkpoint, without further training.")
def main(
    out: Path,
    scenes: int,
    workers: int,
    threads: int,
    eval_every: int,
    save_every: int,
    stop_after: float | None,
    finish: bool,
    **options: Any,
) -> None:
    """Train the small detector that comes with lmm-detector."""
    torch.set_num_threads(threads)
    plan = Plan(**options)
    spec = DetectorSpec(LOOK.class_names, CODEC.to_dict(), CODEC.question(LOOK.class_names), window=SIDE, gap=0)
    start = out / "start"
    if not (start / "processor_config.json").is_file():  # the last file that it writes
        save_model(start, LOOK.class_names, CODEC, seed=plan.seed)
    learner = Learner.begin(start, spec, plan.seed)
    if (out / "newest.pt").is_file():
        learner.resume(out / "newest.pt")
    if not finish:
        fit(out, learner, plan, scenes, workers, eval_every, save_every, stop_after)
    if finish or learner.step >= plan.steps:
        click.echo(f"wrote {export(out, learner, plan)}")


def fit(
    out: Path,
    learner: Learner,
    plan: Plan,
    scenes: int,
    workers: int,
    eval_every: int,
    save_every: int,
    stop_after: float | None,
) -> None:
    """Train from the newest checkpoint to the last step."""
    folder = out / "scenes"
    folder.mkdir(parents=True, exist_ok=True)
    begin = time.monotonic()
    held_out = seen_scenes(FIRST_HELD_OUT, HELD_OUT)
    wanted = -(-scenes // CHUNK)
    context = get_context("spawn")
    shares = [list(range(first, wanted, workers)) for first in range(workers)]
    drawing = [context.Process(target=draw_chunks, args=(folder, share), daemon=True) for share in shares]
    for process in drawing:
        process.start()
    pool = Scenes(folder, drawing)
    sums: dict[str, list[float]] = {}
    since, at = time.monotonic(), learner.step
    stops = False
    while learner.step < plan.steps and not stops:
        rng = np.random.default_rng([plan.seed, learner.step])
        limit = min(wanted, 4 + learner.step // 10)  # drawing is faster than that, so that a step hardly ever waits
        pool.require(limit)
        for name, value in learner.learn([pool.draw(rng, limit) for _ in range(plan.batch)], plan).items():
            sums.setdefault(name, []).append(value)
        stops = stop_after is not None and time.monotonic() - begin > 60 * stop_after
        if learner.step % save_every == 0 or learner.step == plan.steps or stops:
            learner.save(out / "newest.pt")
        if learner.step % eval_every == 0 or learner.step == plan.steps or stops:
            taken = time.monotonic() - since
            line = {
                "step": learner.step,
                "stage": "vision" if learner.step <= plan.vision_steps else "text",
                "minutes": round((time.monotonic() - begin) / 60, 1),
                "scenes_a_second": round((learner.step - at) * plan.batch / taken, 1),
                "drawn": len(pool.chunks) * CHUNK,
                "rate": plan.rate(learner.step - 1),
                "losses": {name: round(float(np.mean(values)), 4) for name, values in sums.items()},
                **measured(learner, held_out, with_text=learner.step > plan.vision_steps),
            }
            with (out / "log.jsonl").open("a") as file:
                file.write(json.dumps(line) + "\n")
            click.echo(json.dumps(line))
            sums, since, at = {}, time.monotonic(), learner.step
    for process in drawing:
        process.terminate()


def measured(learner: Learner, held_out: list[tuple[np.ndarray, ImageRecord]], *, with_text: bool) -> dict[str, Any]:
    """Score the averaged weights on scenes that they have not seen."""
    with learner.at_their_average():
        with torch.inference_mode():
            found = [learner.losses(held_out[at : at + 50], with_text=with_text) for at in range(0, len(held_out), 50)]
        losses = {name: round(float(np.mean([float(each[name]) for each in found])), 4) for name in found[0]}
        detected = {"f1_dense": learner.detect_densely(held_out)}
        if with_text:
            detected["f1"] = learner.detect(held_out)
    truth = [record for _, record in held_out]
    figures: dict[str, Any] = {"held_out": losses}
    for name, records in detected.items():
        report = evaluate(truth, records, learner.spec.class_names, iou_thresholds=[0.25, 0.5])
        figures |= {f"{name}_{each.iou_threshold}": round(each.f1_micro, 4) for each in report.at}
    return figures


def export(out: Path, learner: Learner, plan: Plan) -> Path:
    """Write the detector, score it loaded as a user would load it, and put its card beside it."""
    folder = out / "model"
    with learner.at_their_average():
        model = learner.family.model.half()
        model.save_pretrained(folder)
        learner.family.processor.save_pretrained(folder)
        model.float()
    learner.spec.save(folder)
    weights = folder / "model.safetensors"
    save_file(load_file(weights), weights, {"format": "pt", "commit": commit(), "seed": str(plan.seed)})
    detector = Detector.from_pretrained(folder, device="cpu")
    scenes = seen_scenes(FIRST_TEST, TEST)
    generation = Generation(batch_size=50, max_new_tokens=LONGEST, scores="geometric", first_tokens=0)
    found = list(detector.predict([pixels for pixels, _ in scenes], generation))
    begin = time.perf_counter()
    for pixels, _ in scenes[:_TIMED]:
        detector.predict(pixels)
    alone = (time.perf_counter() - begin) / _TIMED
    truth = [record for _, record in scenes]
    report: Report = evaluate(truth, found, LOOK.class_names, full=True)
    report.save(out / "report.json")
    history = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    steps = np.diff([0, *(line["step"] for line in history)])
    rates = np.array([line["scenes_a_second"] for line in history])
    facts = {
        "architecture": f"{sum(p.numel() for p in learner.family.model.parameters()) / 1e6:.2f} M parameters, "
        f"{weights.stat().st_size / 1e6:.1f} MB; {(SIDE // CELL) ** 2} image tokens and their mean",
        "texts": f"codec {CODEC.name}, objects by position",
        "stages": f"{plan.vision_steps} steps by a dense head, then {plan.text_steps} by the texts; here after "
        f"{learner.step} steps of {plan.batch} scenes",
        "scenes": f"{history[-1]['drawn']} drawn, each seen in the eight symmetries of the square",
        "learning rate": f"{plan.vision_rate:g}, then {plan.text_rate:g}, AdamW; the weights are averaged over steps",
        "seed": str(plan.seed),
        "a scene alone": f"{alone:.2f} s, on {torch.get_num_threads()} thread(s)",
        "commit": commit(),
        "command": "python tools/train_demo_detector.py",
        "hours": f"{(steps * plan.batch / rates).sum() / 3600:.1f}, evaluations aside",
        "machine": machine(),
    }
    files.write_text(folder / "README.md", card(truth, found, LOOK.class_names, report, history, facts))
    return folder


if __name__ == "__main__":
    main()
