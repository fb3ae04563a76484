"""`rbox-baselines export`."""

from __future__ import annotations

from pathlib import Path

import click
from rbox_formats.cli import PATH, PATH_TEXT, command, option, writes

from rbox_baselines.cli._common import set_up_output


@command(
    "rbox-baselines export runs/retinanet/epoch_12.pth --out retinanet.onnx --check scene.png",
    "rbox-baselines export runs/retinanet/epoch_12.pth --out retinanet.pt2 --nms outside",
)
@click.argument("checkpoint", type=PATH)
@option("--out", type=PATH, required=True, help="The file: .onnx, or .pt2 for a program of PyTorch.", group="Output")
@option(
    "--nms",
    type=click.Choice(["inside", "outside"]),
    default="inside",
    help="Whether the file drops boxes that overlap better ones, or gives all candidates.",
    group="Output",
)
@option(
    "--check",
    multiple=True,
    type=PATH,
    metavar="IMAGE",
    help="Detect on this image with the ONNX file and with PyTorch, and say how far they agree. Repeat it for more.",
    group="Output",
)
@option(
    "--config",
    type=PATH_TEXT,
    help="A preset, a config of MMRotate's zoo, or a file. [default: the config in the checkpoint]",
    group="Model",
)
@writes("out")
def export(checkpoint: Path, out: Path, nms: str, check: tuple[Path, ...], config: str | None) -> None:
    """Write a detector as one file that other programs run.

    The file has the weights, the classes, and how images are prepared. `predict`, and `Detector.from_onnx` in Python,
    run it with onnxruntime.
    """
    set_up_output()
    from rbox_formats import files

    from rbox_baselines import Detector

    if check and out.suffix != ".onnx":
        raise click.UsageError("--check goes with a file ending in .onnx.")
    files.require_writable_file(out)
    detector = Detector.from_checkpoint(checkpoint, config, device="cpu")
    click.echo("Exporting takes a minute or two.")
    detector.export(out, nms=nms == "inside")
    click.echo(f"The detector is in {out} ({out.stat().st_size / 1e6:.1f} MB).")
    if check:
        from rbox_baselines._tools._agreement import agreement

        exported = Detector.from_onnx(out, device="cpu")
        for path in check:
            found = agreement(detector.predict(path), exported.predict(path))
            click.echo(
                f"{path}: {found.counts[0]} boxes in PyTorch, {found.counts[1]} in ONNX, {found.alone} in only one of "
                f"them; corners differ by at most {found.pixels:.2g} px, scores by {found.score:.2g}."
            )
