"""A training run from what a user names: clips, folder, settings."""

import sys
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from baselines.settings import SettingsError, with_changes
from motif.settings import MotifSettings, SampleSettings, TrainSettings
from ti2v_bench.motion.settings import HeatmapSettings

if TYPE_CHECKING:
    from motif.clips import Clip, Source

CELL = 8
"""Pixels per latent cell of Stable Diffusion's autoencoder."""
_SHOWN = 4
"""Clips in a sample grid."""


def split_settings(changes: Mapping[str, str], tiny: bool) -> tuple[MotifSettings, TrainSettings]:
    """Model and training settings with `changes`, given by field name; `unit` and `variant` are the heatmap's.

    Raises:
        SettingsError: no such field, or the text does not read as its type.
    """
    from motif.parts import tiny as shrunk

    model = shrunk(MotifSettings()) if tiny else MotifSettings()
    groups = {MotifSettings: {}, TrainSettings: {}, HeatmapSettings: {}}  # type: ignore[var-annotated]
    for name, text in changes.items():
        owner = next((kind for kind in groups if name in {f.name for f in fields(kind)}), None)
        if owner is None:
            known = ", ".join(f.name for kind in groups for f in fields(kind))
            raise SettingsError(f"There is no setting {name!r}. Known: {known}.")
        groups[owner][name] = text
    heat = with_changes(HeatmapSettings(), groups[HeatmapSettings])
    train = replace(with_changes(TrainSettings(), groups[TrainSettings]), heatmap=heat)
    return with_changes(model, groups[MotifSettings]), train


def start(
    source: Path,
    out: Path,
    model: MotifSettings,
    train: TrainSettings,
    weights: str | None = None,
    flow: str = "dis",
    flow_weights: Path | None = None,
    fsdp: bool = False,
) -> None:
    """Train to the end, going on from `out`'s newest checkpoint if it has one.

    Args:
        source: see `motif.clips.find_clips`.
        out: folder of checkpoints, logs and sample grids.
        model: network and size.
        train: everything else.
        weights: where VideoCrafter2 comes from, as `ModelOptions.weights`.
        flow: backend's name; heatmaps are made once and kept in `out`.
        flow_weights: RAFT's checkpoint.
        fsdp: shard weights and optimiser over all processes instead of copying them.

    Raises:
        ClipsError: no clips.
        TrainError: settings that do not fit each other or the checkpoint.
        CheckpointError: VideoCrafter2's file is absent or not the expected one.
    """
    import torch
    from accelerate import Accelerator

    from motif.batches import Stacker
    from motif.clips import find_clips
    from motif.data import Samples, SamplingSettings
    from motif.heatmaps import HeatmapCache, HeatmapMaker
    from motif.parts import load_encoders
    from motif.train import Plan, Trainer
    from motif.watch import Watcher
    from ti2v_bench.motion.flow import flow_backend

    found = find_clips(source)
    shown, clips = held_out(found.clips, train.held_out)
    accelerator = Accelerator(
        mixed_precision=train.precision if torch.cuda.is_available() else "no",
        cpu=not torch.cuda.is_available(),
    )
    backend = flow_backend(flow, flow_weights, str(accelerator.device))
    maker = HeatmapMaker(backend, train.heatmap, (model.height // CELL, model.width // CELL))
    heat = HeatmapCache(maker, out / "heatmaps")
    # DIS runs beside the decoding, on its processes; RAFT here, where the device is.
    beside = heat if flow == "dis" else None
    sampling = SamplingSettings(
        frames=model.frames, height=model.height, width=model.width, text_drop=train.text_drop,
        image_drop=train.image_drop, seed=train.seed,
    )  # fmt: skip
    dtype = torch.bfloat16 if accelerator.device.type == "cuda" else torch.float32
    encoders = load_encoders(model, weights, dtype, str(accelerator.device))
    stack = Stacker(accelerator.device, heat)
    plan = Plan(model, train, out, weights, backend.name, fsdp)
    trainer = Trainer(plan, Samples(clips, sampling, beside), stack, encoders, accelerator)
    if accelerator.is_main_process:
        print(_counted(source, found, len(shown)), file=sys.stderr)
    own = Samples(shown or clips, replace(sampling, text_drop=0.0, seed=train.seed + 1), beside)
    seen = [own[number] for number in range(min(_SHOWN, len(own.clips)))] if train.sample_every else []
    steps = SampleSettings(steps=2) if model.tiny else SampleSettings()
    trainer.run(Watcher(seen, stack, encoders, model, steps, out) if seen else None)


def held_out(clips: list["Clip"], wanted: int) -> tuple[list["Clip"], list["Clip"]]:
    """Evenly spaced clips that training never sees, and the others: `wanted` of them, a tenth at most."""
    count = min(wanted, len(clips) // 10)
    kept = {index * len(clips) // count for index in range(count)}
    return [clips[i] for i in sorted(kept)], [clip for i, clip in enumerate(clips) if i not in kept]


def _counted(source: Path, found: "Source", held: int) -> str:
    line = f"{len(found.clips)} clips in {source}, {held} of them held out"
    if found.silent:
        line += f"; {len(found.silent)} videos without a caption are left out (first: {found.silent[0]})"
    return line
