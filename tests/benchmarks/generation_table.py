"""What bench_generation.py measured, set beside the official code and summed over the bench."""

from collections.abc import Mapping, Sequence
from typing import Any

OFFICIAL_STEP_MS = {
    "dynamicrafter": 240, "videocrafter": 526, "cond_leak": 230, "seine": 125, "cinemo": 90, "consisti2v": 239,
    "animate_anything": 221, "ti2v_zero": 144,
}  # fmt: skip
"""Milliseconds per guided step (all branches) of the official code: published precision, eager, random weights, size
and frames as published, one H200, torch 2.11. Given to this project as measured, not measured by it. I2VGen-XL's
official code ran out of memory there; MotiF's is not public. SEINE's ran without xformers, which may overstate it."""

OFFICIAL_STEPS = {
    "dynamicrafter": 50, "videocrafter": 50, "cond_leak": 50, "seine": 250, "cinemo": 50, "consisti2v": 50,
    "animate_anything": 25, "ti2v_zero": 750,
}  # fmt: skip
"""Guided network steps per video at the published settings (TI2V-Zero: 15 frames x 10 steps x 5)."""

PAIRS = 320
"""Of TI2V-Bench."""

HEADER = [
    "A step is all network calls of one sampling step, all guidance branches; where a model calls its network more",
    "than three times per step, one call. It is timed alone, on the inputs of a real call; a video is that times the",
    "published number of steps, plus what a short video took of the autoencoder and of all the rest (text and picture",
    "encoders, sampler) in the exact form, mp4 not included. MFU: counted arithmetic of the step over its time, as a",
    "share of the bfloat16 matrix rate of the same process. Deviation: of the step's output from the exact form's,",
    "relative L2. Official: the official code's denoising alone, measured elsewhere on one H200 and given to this",
    "project; ratio: that over our denoising, so indicative where the device differs. Start: from the birth of a",
    "process with a filled compiler's cache to the end of its first step. Whole: one video made at the published steps",
    "from picture and prompt to frames, by the clock, after another one.",
]


def official_seconds(row: Mapping[str, Any]) -> float | None:
    """Denoising of one video by the official code, or None where unknown or where the row is of a tiny network."""
    model = row["model"]
    if model not in OFFICIAL_STEP_MS or row["weights"] != "random-full":
        return None
    return OFFICIAL_STEP_MS[model] * OFFICIAL_STEPS[model] / 1000


def with_ratio(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row, with the official time beside it."""
    official = official_seconds(row)
    if official is None or "error" in row:
        return dict(row)
    return {
        **row,
        "official_denoise_seconds_per_video": official,
        "ratio": round(official / row["denoise_seconds_per_video"], 2),
    }


def gpu_hours(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """GPU-hours of the whole bench per form, over the models that were measured in it, best batch each."""
    good = [row for row in rows if "error" not in row]
    found = []
    for form in dict.fromkeys(row["form"] for row in good):
        seconds: dict[str, float] = {}
        official: dict[str, float | None] = {}
        for row in good:
            if row["form"] == form:
                seconds[row["model"]] = min(seconds.get(row["model"], 1e9), row["seconds_per_video"])
                official[row["model"]] = official_seconds(row)
        both = [model for model, value in official.items() if value is not None]
        found.append(
            {
                "form": form,
                "models": sorted(seconds),
                "gpu_hours": round(sum(seconds.values()) * PAIRS / 3600, 2),
                "models_with_official_time": sorted(both),
                "gpu_hours_of_those": round(sum(seconds[model] for model in both) * PAIRS / 3600, 2),
                "official_gpu_hours_of_those": round(sum(official[m] or 0 for m in both) * PAIRS / 3600, 2),
            }
        )
    return found


def markdown(table: Mapping[str, Any]) -> str:
    """The table for readers."""
    lines = [
        "# Generation, measured",
        "",
        f"{table['what']}. {table['device']}, torch {table['torch']}, {table['date']}.",
        "",
        f"`{table['command']}`",
        "",
        *HEADER,
        "",
        "| model | form | batch | precision | ms / step | MFU | GPU GiB | host GiB (weights) | deviation | start s | "
        "denoise s | autoencoder s | rest s | video s | whole s | official s | ratio |",
        "| " + " | ".join(["---"] * 17) + " |",
        *(_line(row) for row in table["rows"]),
        "",
        *_kernels(table["rows"]),
        f"Whole bench, {PAIRS} pairs, one video each:",
        "",
        "| form | models | GPU-hours | of those with an official time | official |",
        "| --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {total['form']} | {len(total['models'])} | {total['gpu_hours']} | {total['gpu_hours_of_those']} "
        f"({len(total['models_with_official_time'])} models) | {total['official_gpu_hours_of_those']} |"
        for total in table["whole_bench"]
    ]
    return "\n".join(lines) + "\n"


def _kernels(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Where the time of a step goes."""
    rows = [row for row in rows if row.get("kernel_ms")]
    if not rows:
        return []
    kinds = list(rows[0]["kernel_ms"])
    lines = ["Milliseconds of one step on the GPU by kind of kernel, profiled once:", ""]
    lines += [f"| model | form | batch | {' | '.join(kinds)} |", "| " + " | ".join(["---"] * (3 + len(kinds))) + " |"]
    for row in rows:
        spent = " | ".join(f"{row['kernel_ms'][kind]:.1f}" for kind in kinds)
        lines.append(f"| {row['model']} | {row['form']} | {row['batch']} | {spent} |")
    return [*lines, ""]


def _line(row: Mapping[str, Any]) -> str:
    if "error" in row:
        return f"| {row['model']} | {row['form']} | {row['batch']} | failed: {row['error']} |" + " |" * 13
    cells = (
        row["model"],
        row["form"],
        row["batch"],
        row["precision"],
        f"{1000 * row['seconds_per_step']:.1f}",
        f"{row['mfu']:.1%}",
        _or_dash(row["gpu_memory_gib"]),
        f"{row['host_memory_gib']} ({row['weights_gib']})",
        f"{row['deviation']['rel_l2']:.1e}",
        _or_dash(row["start_to_first_step_seconds"]),
        row["denoise_seconds_per_video"],
        row["autoencoder_seconds_per_video"],
        row["rest_seconds_per_video"],
        row["seconds_per_video"],
        _or_dash(row.get("measured_seconds_per_video")),
        _or_dash(row.get("official_denoise_seconds_per_video")),
        _or_dash(row.get("ratio")),
    )
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def _or_dash(value: object) -> str:
    return "–" if value is None else str(value)
