"""How much faster full-size MotiF trains on several GPUs of one host: DDP and sharded (FSDP2) against one alone.

    torchrun --nproc-per-node 2 tests/benchmarks/bench_motif_scaling.py --out FOLDER [--clips 8] [--tiny]

Weak scaling: every process takes the same number of clips. Efficiency is seconds per step alone over seconds together;
`alone` is measured by all processes at the same time, each for itself, so that what they share (power, host) is the
same. Random weights and latents, cached heatmaps, recomputation, motion term on. Writes `motif_scaling_<N>.json`
and `.md`.
"""

import argparse
import json
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parent))

import torch
import torch.distributed as dist
from bench_motif_train import Step, timed

from baselines.lvdm.recipe import tiny
from baselines.videocrafter.settings import Settings, recipe
from motif.network import checkpointed
from motif.settings import MotifSettings
from motif.state import shard


def seconds(step: Step, clips: int, repeats: int, device: str) -> float:
    """Of the slowest process."""
    batch = step.batch(clips)
    dist.barrier()
    median, _ = timed(lambda: step(batch, motion=True), device, repeats, time.perf_counter() + 120)
    slowest = torch.tensor(median, device=step.device)
    dist.all_reduce(slowest, dist.ReduceOp.MAX)
    return float(slowest)


def markdown(found: Mapping[str, object]) -> str:
    """What was found so far, as a page."""
    lines = [
        f"# MotiF at full size, trained on {found['processes']} GPUs of one host",
        "",
        f"{found['processes']} x {found['machine']}, torch {found['torch']}, {found['date']}; "
        f"{found['clips_per_process']} clips of 16 x 320 x 512 per process and step, bfloat16, recomputation, motion",
        "term with cached heatmaps, random weights and latents. Median of "
        f"{found['repeats']} steps, of the slowest process. Efficiency:",
        "the step of one process that is not joined, measured on all GPUs at once, over the step of all together.",
        "",
        f"`{found['command']}`",
        "",
        "| how | s per step | efficiency |",
        "| --- | --- | --- |",
    ]
    for name in ("alone", "DDP", "FSDP"):
        if name in found:
            share = f"{float(str(found[f'{name} efficiency'])):.1%}" if f"{name} efficiency" in found else "–"
            lines.append(f"| {name} | {float(str(found[name])):.3f} | {share} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--clips", type=int, default=8, help="per process and step")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--tiny", action="store_true", help="a toy network, to try the script on a CPU")
    args = parser.parse_args()
    dist.init_process_group("nccl" if args.device == "cuda" else "gloo")
    rank, world = dist.get_rank(), dist.get_world_size()
    place = args.device
    if args.device == "cuda":
        torch.cuda.set_device(rank)
        place = f"cuda:{rank}"
    torch.set_float32_matmul_precision("high")
    settings = MotifSettings()
    if args.tiny:
        settings = MotifSettings(frames=4, height=64, width=64, unet=tiny(recipe(Settings())).network.unet)
    found: dict[str, object] = {
        "processes": world,
        "clips_per_process": args.clips,
        "repeats": args.repeats,
        "torch": torch.__version__,
        "date": datetime.now(UTC).date().isoformat(),
        "command": f"torchrun --standalone --nproc-per-node {world} tests/benchmarks/bench_motif_scaling.py "
        f"--device {args.device} --clips {args.clips} --repeats {args.repeats} --out OUT",
    }
    found["machine"] = torch.cuda.get_device_name() if args.device == "cuda" else "cpu"

    def measure(name: str, step: Step) -> None:
        found[name] = seconds(step, args.clips, args.repeats, args.device)
        if name != "alone":
            found[f"{name} efficiency"] = float(str(found["alone"])) / float(str(found[name]))
        if rank == 0:
            print(name, found[name], flush=True)
            args.out.mkdir(parents=True, exist_ok=True)
            (args.out / f"motif_scaling_{world}.json").write_text(json.dumps(found, indent=1) + "\n")
            (args.out / f"motif_scaling_{world}.md").write_text(markdown(found))

    step = Step(settings, place)
    checkpointed(step.unet)
    measure("alone", step)
    step.called = torch.nn.parallel.DistributedDataParallel(
        step.unet, device_ids=[rank] if args.device == "cuda" else None
    )
    measure("DDP", step)
    del step
    if args.device == "cuda":
        torch.cuda.empty_cache()
    step = Step(settings, place)
    checkpointed(step.unet)
    shard(step.unet, torch.device(place))
    step.optimizer = torch.optim.AdamW(step.unet.parameters(), lr=5e-5, fused=args.device == "cuda")
    measure("FSDP", step)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
