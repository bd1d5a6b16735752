"""`motif heatmap`, `motif train`, `motif sample`: the MotiF model."""

import os
from pathlib import Path

import click

from ti2v_bench.cli.device import known_device
from ti2v_bench.errors import TI2VError

_FLOW = click.Choice(["dis", "raft"])
_UNIT = click.Choice(["size", "half_size", "diag", "minmax_clip", "pixel"])


@click.group()
def motif() -> None:
    """The MotiF model: motion heatmaps, training with the motion focal loss, sampling."""


@motif.command()
@click.argument("source", type=click.Path(exists=True, path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), default=Path("heatmaps"), help="Folder for the overlays.")
@click.option("--flow", type=_FLOW, default="dis", help="Flow backend; raft needs --flow-weights.")
@click.option("--flow-weights", type=click.Path(path_type=Path), help="RAFT-large checkpoint.")
@click.option("--device", default="cpu", callback=known_device, help="Torch device for RAFT.")
@click.option("--unit", type=_UNIT, default="size", help="Unit of the flow; the paper does not say which it uses.")
@click.option(
    "--variant",
    type=click.Choice(["motion", "inverse", "binary"]),
    default="motion",
    help="What is hot: motion (published), its inverse (the paper's ablation), or motion as a hard mask.",
)
@click.option("--cell", type=click.IntRange(1), default=8, help="Pixels per latent cell.")
def heatmap(
    source: Path, out: Path, flow: str, flow_weights: Path | None, device: str, unit: str, variant: str, cell: int
) -> None:
    """Lay the motion heatmap over a video, or over every video of a folder, and print how hot it is."""
    from motif.look import look
    from ti2v_bench.motion.flow import flow_backend
    from ti2v_bench.motion.heatmap import HeatmapSettings

    settings = HeatmapSettings(unit=unit, variant=variant)  # type: ignore[arg-type]
    backend = flow_backend(flow, flow_weights, device)
    click.echo(f"flow {backend.name}, unit {unit} (the paper's is not known), variant {variant}")
    for line in look(source, out, backend, settings, cell):
        click.echo(line)


@motif.command()
@click.argument("source", type=click.Path(exists=True, path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Checkpoints and logs; resumes from here.")
@click.option("--weights", help="VideoCrafter2: its file or folder, random-tiny, random-full; default: from the Hub.")
@click.option("--set", "changes", multiple=True, metavar="NAME=VALUE", help="Change a setting, e.g. steps=1000.")
@click.option("--flow", type=_FLOW, default="dis", help="Flow backend; raft needs --flow-weights.")
@click.option("--flow-weights", type=click.Path(path_type=Path), help="RAFT-large checkpoint.")
@click.option("--fsdp", is_flag=True, help="Shard the network over all processes (start with torchrun).")
def train(
    source: Path,
    out: Path,
    weights: str | None,
    changes: tuple[str, ...],
    flow: str,
    flow_weights: Path | None,
    fsdp: bool,
) -> None:
    """Train MotiF on the clips of SOURCE: a folder, a .csv or .parquet, or WebDataset tars. Run again to resume.

    Several GPUs: torchrun --nproc-per-node 8 -m ti2v_bench motif train SOURCE --out OUT
    """
    from motif.session import split_settings, start

    model, settings = split_settings(_pairs(changes), tiny=weights == "random-tiny")
    start(source, out, model, settings, weights, flow, flow_weights, fsdp)
    if os.environ.get("RANK", "0") == "0":  # torchrun starts this command once per process
        click.echo(f"Trained. Sample with: ti2v-bench motif sample IMAGE PROMPT --weights {out}")


@motif.command()
@click.argument("image", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("prompt")
@click.option("--weights", help="Checkpoint folder, folder of checkpoints, or Hub repository; default: motif-mini.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("sample.mp4"), help="The video.")
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, help="Same seed, same video up to rounding.")
@click.option("--device", default="cpu", callback=known_device, help="Torch device, e.g. cuda.")
@click.option("--set", "changes", multiple=True, metavar="NAME=VALUE", help="Change a setting, e.g. steps=25.")
def sample(
    image: Path, prompt: str, weights: str | None, out: Path, seed: int, device: str, changes: tuple[str, ...]
) -> None:
    """Animate IMAGE as PROMPT says."""
    from ti2v_bench.model import ModelOptions
    from ti2v_bench.records import Pair
    from ti2v_bench.registry import load_model
    from ti2v_bench.video import write_video

    _check_picture(image)
    pair = Pair(image.stem, image.stem, image.stem, prompt, image.resolve())
    options = ModelOptions(device=device, weights=weights, settings=_pairs(changes))
    model = load_model("motif" if weights else "motif-mini", options)
    frames = model.generate(pair, seed)
    write_video(out, frames, model.fps)
    click.echo(f"{out}: {len(frames)} frames of {frames.shape[2]}x{frames.shape[1]} by {model.name}")


def _check_picture(path: Path) -> None:
    """Before a model is loaded for it."""
    from PIL import Image

    try:
        with Image.open(path) as picture:
            picture.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:  # Pillow raises all of these
        raise TI2VError(f"{path} is no picture that can be read ({error}). Name a PNG, JPEG or WebP file.") from error


def _pairs(changes: tuple[str, ...]) -> dict[str, str]:
    pairs = {}
    for change in changes:
        name, equals, value = change.partition("=")
        if not equals:
            raise TI2VError(f"--set {change!r} is not of the form NAME=VALUE.")
        pairs[name] = value
    return pairs
