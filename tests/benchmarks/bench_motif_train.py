"""Full-size MotiF on one GPU: a training step, what the motion term adds, and heatmaps per second.

    python tests/benchmarks/bench_motif_train.py --out FOLDER [--seconds 130] [--device cuda] [--tiny]

Random weights, 16 x 320 x 512, bfloat16 autocast over float32 weights, AdamW (fused), gradient checkpointing as named.
Writes `motif_train.json` and `motif_train.md`, anew after every row. TFLOP per clip and CFG branch: 12.58 (counted from
the network; one training pass is three times that, four with recomputation; MFU counts three).
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np
import torch
from torch import Tensor

from baselines.lvdm.recipe import tiny
from baselines.lvdm.unet import UNet
from motif.diffusion import alphas_cumprod
from motif.network import checkpointed, place
from motif.objective import Batch, draw, objective
from motif.settings import MotifSettings
from ti2v_bench.motion.dis import DisFlow
from ti2v_bench.motion.heatmap import HeatmapSettings, heatmap, to_grid
from ti2v_bench.motion.raft import Raft, RaftFlow

FORWARD_TFLOP = 12.58
PEAK_TFLOPS = 790.0
"""bfloat16, measured on an H200 of this kind; not the datasheet's."""


def timed(work: Callable[[], object], device: str, repeats: int, deadline: float) -> tuple[float, int]:
    """Median seconds of `work` after one warm-up, and how many were timed."""
    work()
    taken: list[float] = []
    for _ in range(repeats):
        _wait(device)
        started = time.perf_counter()
        work()
        _wait(device)
        taken.append(time.perf_counter() - started)
        if time.perf_counter() > deadline:
            break
    return statistics.median(taken), len(taken)


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


class Step:
    """A whole training step of the full-size network."""

    def __init__(self, settings: MotifSettings, device: str) -> None:
        self.network, self.device, self.settings = settings.network(), device, settings
        with torch.device(device):
            self.unet = place(UNet(self.network), torch.device(device))
        self.called: torch.nn.Module = self.unet.train()
        self.optimizer = torch.optim.AdamW(self.unet.parameters(), lr=5e-5, fused=device.startswith("cuda"))
        self.alphas = alphas_cumprod().to(device)

    def batch(self, clips: int) -> Batch:
        """Random latents and a cached heatmap of plausible share."""
        s, d = self.settings, self.device
        grid = (s.height // 8, s.width // 8)
        return Batch(
            torch.randn(clips, 4, s.frames, *grid, device=d),
            torch.randn(clips, 4, *grid, device=d),
            torch.randn(clips, 77, self.network.context_dim, device=d),
            torch.full((clips,), 8, device=d),
            (torch.rand(clips, s.frames, *grid, device=d) > 0.97).float(),
        )

    def __call__(self, batch: Batch, motion: bool, heat: Callable[[], Tensor] | None = None) -> None:
        """Forward, backward, optimiser; with the motion term, or only the plain loss."""
        draws = draw(0, 0, range(len(batch.latents)), tuple(batch.latents.shape[1:]))
        timestep, noise = draws.timestep.to(self.device), draws.noise.to(self.device)
        if heat is not None:
            batch = Batch(batch.latents, batch.image, batch.context, batch.fps, heat())
        with torch.autocast(self.device.split(":")[0], torch.bfloat16):
            terms = objective(self.called, self.network, batch, timestep, noise, self.alphas, "v")
        loss = terms.total(1.0) if motion else terms.diffusion.mean()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.unet.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=False)


def training(
    step: Step, device: str, deadline: float, raft: RaftFlow, video: Tensor, note: Callable[[dict[str, object]], None]
) -> None:
    """Seconds and memory of a step at several batch sizes, with and without the motion term."""

    def on_the_fly(clips: int) -> Tensor:
        grid = (step.settings.height // 8, step.settings.width // 8)
        flows = torch.stack([raft.flow_tensor(video) for _ in range(clips)])  # no two clips share anything
        return to_grid(heatmap(flows, HeatmapSettings()), grid)

    def measure(name: str, clips: int, motion: bool, fly: bool) -> None:
        batch = step.batch(clips)
        if device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        heat = (lambda: on_the_fly(clips)) if fly else None
        seconds, n = timed(lambda: step(batch, motion, heat), device, 5, deadline)
        memory = torch.cuda.max_memory_allocated() / 2**30 if device == "cuda" else 0.0
        mfu = 3 * FORWARD_TFLOP * clips / seconds / PEAK_TFLOPS
        row = {"what": name, "clips": clips, "seconds": seconds, "timed": n, "peak_gib": memory, "mfu": mfu}
        note(row)

    for clips, recompute in ((1, False), (2, True), (8, True)):
        if time.perf_counter() > deadline:
            break
        if recompute and not getattr(step, "recompute", False):
            checkpointed(step.unet)
            step.recompute = True  # type: ignore[attr-defined]
        label = "recompute" if recompute else "keep all"
        try:
            measure(f"plain, {label}", clips, motion=False, fly=False)
            measure(f"motion term, cached heatmaps, {label}", clips, motion=True, fly=False)
            if clips == 2:
                measure(f"motion term, RAFT on the fly, {label}", clips, motion=True, fly=True)
        except torch.cuda.OutOfMemoryError as error:
            note({"what": f"{label}, out of memory", "clips": clips, "why": str(error)[:200]})
            torch.cuda.empty_cache()


def heatmaps(
    device: str, settings: MotifSettings, raft: RaftFlow, video: Tensor, note: Callable[[dict[str, object]], None]
) -> None:
    """Clips per second of heatmap pre-computation."""
    far = time.perf_counter() + 60
    grid = (settings.height // 8, settings.width // 8)

    def one() -> Tensor:
        return to_grid(heatmap(raft.flow_tensor(video), HeatmapSettings()), grid)

    for precision in ("float32", "bfloat16") if device == "cuda" else ("float32",):
        for updates in (20, 12) if device == "cuda" else (1,):
            raft.updates, raft.precision = updates, precision
            seconds, n = timed(one, device, 3, far)
            note({"what": f"RAFT-large {precision}, {updates} updates", "clips_per_s": 1 / seconds, "timed": n})
    raft.updates, raft.precision = 20, "bfloat16" if device == "cuda" else "float32"
    import cv2

    cv2.setNumThreads(1)
    frames = ((video.permute(0, 2, 3, 1) + 1) * 127.5).byte().cpu().numpy()
    seconds, n = timed(lambda: DisFlow().flow(frames), "cpu", 3, far)
    note({"what": "DIS medium, one CPU core", "clips_per_s": 1 / seconds, "timed": n})


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=130)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="a toy network, to try the script on a CPU")
    args = parser.parse_args()
    deadline = time.perf_counter() + args.seconds
    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision("high")
    settings = MotifSettings()
    if args.tiny:
        from baselines.videocrafter.settings import Settings, recipe

        small = tiny(recipe(Settings())).network.unet
        settings = MotifSettings(frames=4, height=128, width=128, unet=small)
    noise = np.random.default_rng(0).normal(size=(settings.height // 8, settings.width // 8, 3)).astype(np.float32)
    base = torch.nn.functional.interpolate(
        torch.from_numpy(noise).permute(2, 0, 1)[None], scale_factor=8, mode="bicubic"
    )[0].clamp(-1, 1)
    video = torch.stack([base.roll(3 * i, -1) for i in range(settings.frames)]).to(args.device)
    raft = RaftFlow(Raft(), "random weights", args.device, updates=20, batch=15)
    about = {
        "machine": torch.cuda.get_device_name() if args.device == "cuda" else "cpu",
        "torch": torch.__version__,
        "size": [settings.frames, settings.height, settings.width],
        "tiny": args.tiny,
        "date": datetime.now(UTC).date().isoformat(),
        "command": f"python tests/benchmarks/bench_motif_train.py --seconds {args.seconds:.0f} --device {args.device} "
        "--out OUT",
    }
    found: dict[str, list[dict[str, object]]] = {"heatmaps": [], "training": []}

    def noting(rows: list[dict[str, object]]) -> Callable[[dict[str, object]], None]:
        def note(row: dict[str, object]) -> None:
            print(row, flush=True)
            rows.append(row)
            write(args.out, about, found)  # what is measured stays measured, whatever happens next

        return note

    training(Step(settings, args.device), args.device, deadline, raft, video, noting(found["training"]))
    heatmaps(args.device, settings, raft, video, noting(found["heatmaps"]))


def write(out: Path, about: dict[str, object], found: dict[str, list[dict[str, object]]]) -> None:
    """Both tables, as far as they go."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "motif_train.json").write_text(json.dumps(about | found, indent=1))
    lines = ["# MotiF at full size: a training step, and heatmaps", ""]
    lines += [
        f"{about['machine']}, torch {about['torch']}, {about['date']}; frames, height, width {about['size']}.",
        "",
    ]
    lines += [f"`{about['command']}`", "", "Medians; how many steps were timed stands in the .json.", ""]
    lines += ["| what | clips per step | s per step | peak GiB | MFU of 790 TFLOP/s |", "|---|---|---|---|---|"]
    for row in found["training"]:
        lines.append(
            f"| {row['what']} | {row['clips']} | {row.get('seconds', 0):.4f} | {row.get('peak_gib', 0):.1f} "
            f"| {row.get('mfu', 0):.1%} |"
        )
    lines += ["", "| heatmaps | clips/s |", "|---|---|"]
    lines += [f"| {row['what']} | {row['clips_per_s']:.2f} |" for row in found["heatmaps"]]
    (out / "motif_train.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
