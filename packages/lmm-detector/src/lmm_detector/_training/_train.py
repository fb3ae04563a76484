"""Fine-tuning: from a configuration to a folder with a detector in it."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from accelerate import PartialState
from rbox_formats import ClassNames, ImageRecord, codecs, files, tiling
from rbox_formats.progress import showing
from transformers import TrainingArguments

from lmm_detector import _families
from lmm_detector._runtime import _ranks
from lmm_detector._sources import open_sources
from lmm_detector._spec import FILE_NAME, DetectorSpec
from lmm_detector._training import _config, _run_folder, _sharding, _vision_warm_up
from lmm_detector._training._arguments import arguments_of
from lmm_detector._training._config import TrainConfig
from lmm_detector._training._following import Watched, Watcher
from lmm_detector._training._mixing import EpochSampler
from lmm_detector._training._preparation import prepared
from lmm_detector._training._resumption import bring
from lmm_detector._training._samples import TextWriter, WindowText, WindowTexts, check_images, window_texts
from lmm_detector._training._trainer import FamilyTrainer
from lmm_detector._training._validation import evaluator, held_out
from lmm_detector._training._window_cache import WindowCache, window_cache
from lmm_detector.errors import RunError

logger = logging.getLogger("lmm_detector")

_GIB = 2**30
_NF4_BYTES = 0.5 + 1 / 64 + 4 / 64 / 256  # of a weight: itself, and a scale for 64, with a scale for 256 of these


def train(config: TrainConfig, *, follower: Watcher | None = None, progress: bool = False) -> Path:
    """Fine-tune a model, or resume a run that was stopped.

    Everything that can be checked is checked first; only then is anything written. In `config.out` are then

    - `settings.yaml`: the settings, for `--config`,
    - `texts.jsonl`: the windows that are trained on, with the text of each,
    - `checkpoints/`: the newest checkpoints and the best; a stopped run resumes from them; each is a detector too,
    - `evaluations/`: what the model detected at each evaluation, if there are any,
    - `losses.jsonl`, `evaluations.jsonl`: what is logged, as it comes; `training.png` draws it,
    - `vision-warm-up.jsonl`: the losses of the vision tower's warm-up, if there is one,
    - `model/`: the detector, at the end: the best checkpoint, or the last where nothing was evaluated; its weights in
      the precision in which the model was published, where checkpoints have float32.

    Args:
        config: The settings.
        follower: Takes how far the training is, by its method stepped(done, total, loss), and each checkpoint with its
            scores, by saved(step, checkpoint, metrics).
        progress: Shows progress bars on standard error.

    Returns:
        The detector's folder.

    Raises:
        RboxError: If a setting, the dataset or the model is not as expected.
    """
    with showing(progress):
        out = Path(config.out)
        files.require_writable(out)
        _run_folder.require_same_run(config)
        if (out / "model" / FILE_NAME).is_file():
            logger.info("%s: this run is finished, nothing is done again", out)
            return out / "model"

        codec = codecs.get(config.response_format, **config.codec_options)
        arguments = arguments_of(config, out / "checkpoints")
        _ranks.on_main(lambda: bring(config))
        _run_folder.require_same_run(config)
        class_names, records = open_sources(config.sources, config.class_names)
        validation = held_out(config, class_names)
        with _sharding.whole_weights(arguments):
            family = prepared(config, codec)
        if config.vision_warm_up:
            _vision_warm_up.require_grid(family)
        spec = _spec(config, codec, class_names)
        family.check(codec, spec.prompt, (spec.window, spec.window), spec.class_names)
        check_images([record.file for record in itertools.chain(*records)])
        check_images([record.path for record in validation if record.path is not None])
        samples, sizes = _samples(config, family, spec, records)
        lengths = family.count_tokens([item.text for item in samples.items])
        spec = replace(spec, longest_answer=max(lengths))
        sampler = EpochSampler(
            sizes, config.dataset_mode, config.seed, config.batch_size, lengths, config.length_grouping
        )
        cache = window_cache(((item.path, item.window) for item in samples.items), out, config.window_cache)
        trainer = FamilyTrainer(
            family,
            arguments,
            replace(samples, cache=cache),
            sampler,
            spec,
            evaluate=evaluator(family, spec, validation, config) if validation else None,
            patience=config.patience,
            learning_rates=config.learning_rates,
            soft=family.soft_targets(codec, config.soft_targets),
        )
        if follower is not None:
            trainer.add_callback(Watched(follower))

        texts = samples.to_jsonl()
        _run_folder.require_same_texts(out, texts)
        together = PartialState()
        newest = _ranks.on_main(lambda: _newest(out))
        if newest is not None and not newest.is_dir():
            raise RunError(
                "expected --out in a folder that all machines see, found it on the first one only", path=newest
            )
        if together.is_main_process:
            _run_folder.remove_unfinished(out / "checkpoints")
            files.write_text(out / "settings.yaml", _config.to_yaml(config))
            files.write_text(out / "texts.jsonl", texts)
            for line in (
                *_about_texts(samples.items),
                *_about_cache(cache),
                *_about_model(family, spec, config),
                *_about_run(arguments, sampler),
            ):
                logger.info("%s", line)
        together.wait_for_everyone()
        if newest is None or not _is_over(newest, config):
            if newest is not None:
                logger.info("resuming from %s", newest)
            elif config.vision_warm_up:
                _vision_warm_up.warm_up(
                    family,
                    trainer.samples,
                    sampler,
                    spec,
                    config,
                    at_once=arguments.per_device_train_batch_size,
                    device=arguments.device,
                    key=_run_folder.key_of(config, texts),
                )
            trainer.fit(newest)
            newest = _newest(out)
            if newest is None:
                raise RunError("expected a checkpoint at the end of training, found none", path=out / "checkpoints")
        if together.is_main_process:
            cache.remove()
            _vision_warm_up.remove(out)
            published = _families.published_dtype(config.model_name_or_path, config.model_revision)
            _run_folder.finish(newest, _best(newest, config), out, published)
        together.wait_for_everyone()
        return out / "model"


def _spec(config: TrainConfig, codec: codecs.Codec, class_names: ClassNames) -> DetectorSpec:
    prompt = (config.prompt or codec.prompt).replace("{classes}", ", ".join(class_names))
    gap = tiling.default_gap(config.window) if config.gap is None else config.gap
    return DetectorSpec(class_names, codec.to_dict(), prompt, config.window, gap)


def _samples(
    config: TrainConfig, family: _families.Family, spec: DetectorSpec, records: Sequence[Sequence[ImageRecord]]
) -> tuple[WindowTexts, list[int]]:
    """Return what is trained on, and how many windows of it each dataset has."""
    room = family.answer_room(spec.prompt, (spec.window, spec.window))
    writer = TextWriter(
        spec.class_names, spec.make_codec(), room, family.count_tokens, config.object_order, family.input_size
    )
    windows = [window_texts(of_dataset, writer, window=spec.window, gap=spec.gap) for of_dataset in records]
    samples = WindowTexts(list(itertools.chain(*windows)), writer, config.changes, config.seed)
    return samples, [len(of_dataset) for of_dataset in windows]


# The folder.


def _newest(out: Path) -> Path | None:
    """Return the checkpoint to resume from."""
    return next(reversed(_run_folder.finished_checkpoints(out / "checkpoints")), None)


def _is_over(checkpoint: Path, config: TrainConfig) -> bool:
    found = _run_folder.evaluations(_run_folder.logged(checkpoint), config.eval_metric)
    return _run_folder.steps_left(checkpoint) == 0 or _run_folder.has_settled(found, config.patience)


def _best(last: Path, config: TrainConfig) -> Path:
    """Return the checkpoint that becomes the detector."""
    found = [
        (step, value)
        for step, value in _run_folder.evaluations(_run_folder.logged(last), config.eval_metric)
        if not math.isnan(value) and _run_folder.is_whole(last.parent / f"checkpoint-{step}")
    ]
    if not found:
        return last
    step, value = max(found, key=lambda pair: pair[1])  # the first of equals
    logger.info("the best checkpoint is that of step %d: %s %.4f", step, config.eval_metric, abs(value))
    return last.parent / f"checkpoint-{step}"


# What is said at the start.


def _about_texts(items: Sequence[WindowText]) -> list[str]:
    objects, left_out = sum(item.objects for item in items), sum(item.left_out for item in items)
    lines = [f"{len(items)} windows with {objects} objects"]
    if left_out:
        cut = sum(item.left_out > 0 for item in items)
        lines.append(
            f"{left_out} more objects, in {cut} of the windows ({cut / len(items):.1%}), are left out, because the "
            "texts would be longer than the model's answers may be (use smaller windows, which hold fewer objects, or "
            "a larger language_model_max_length)"
        )
    return lines


def _about_cache(cache: WindowCache) -> list[str]:
    if not cache.cuts:
        return []
    return [
        f"{cache.windows} windows of {len(cache.cuts)} images are cut once, and kept until the run ends: "
        f"about {cache.gigabytes:.1f} GiB in {cache.folder} (--window-cache)"
    ]


def _about_model(family: _families.Family, spec: DetectorSpec, config: TrainConfig) -> list[str]:
    window = (spec.window, spec.window)
    width, height = family.input_size(window)
    lines = [
        f"a window of {spec.window} px is seen at {width} x {height} px; image and prompt are "
        f"{family.prompt_tokens(spec.prompt, window)} tokens, an answer up to {family.answer_room(spec.prompt, window)}"
    ]
    attention = family.attention
    for part, parameters in family.parts.items():
        trained = sum(p.numel() for p in parameters.values() if p.requires_grad)
        of_all = sum(p.numel() for p in parameters.values())
        by = f", attention by {attention[part]}" if part in attention else ""
        lines.append(f"{part}: {trained / 1e6:.1f} M of {of_all / 1e6:.1f} M parameters are trained{by}")
    tensors = list(family.model.parameters())
    weights = sum(p.numel() * p.element_size() for p in tensors)
    learned = sum(p.numel() for p in tensors if p.requires_grad)
    # In float32 a gradient for each trained weight, and AdamW's two moments; or these in a byte each.
    trained = learned * (4 + (2 if config.optimiser == "adamw_8bit" else 8))
    if config.quantization is not None:  # quantised when they move to the device
        names = family.linear_layers("language")
        of_layers = (family.base.get_submodule(name).weight for name in names)
        weights -= sum(p.numel() * (p.element_size() - _NF4_BYTES) for p in of_layers if not p.requires_grad)
    held = "" if config.held_in == "float32" else f", what is not trained in {config.quantization or config.held_in}"
    lines.append(
        f"weights{held}, gradients and optimiser take {(weights + trained) / _GIB:.2f} GiB; activations come on top, "
        "by the windows that a device takes at once"
    )
    return lines


def _about_run(arguments: TrainingArguments, sampler: EpochSampler) -> list[str]:
    step = arguments.per_device_train_batch_size * arguments.gradient_accumulation_steps * arguments.world_size
    per_epoch = -(-len(sampler) // step)
    steps = arguments.max_steps if arguments.max_steps > 0 else round(per_epoch * arguments.num_train_epochs)
    at_once = arguments.per_device_train_batch_size
    return [
        f"steps: {steps} in all, {per_epoch} to an epoch; windows: {step} to a step, {at_once} at once; "
        f"processes: {arguments.world_size}"
    ]
