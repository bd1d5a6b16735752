"""All weight-free metrics of the published clips of five models, as a table for `results/`.

    python tests/benchmarks/metrics_published_clips.py --real-dir DIR --out results

DIR holds `prompt.csv`, the pictures and `videos/<model>/<pair id>_0.mp4` of 16 pairs.
"""

import argparse
import json
import tempfile
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from ti2v_bench.bench import load_bench
from ti2v_bench.files import write_bytes
from ti2v_bench.metrics.build import Wishes, build_tools, describe
from ti2v_bench.metrics.cache import ValueCache
from ti2v_bench.metrics.evaluate import evaluate
from ti2v_bench.metrics.table import as_markdown, model_means, to_frame
from ti2v_bench.metrics.videos import find_videos, with_stills

COMMAND = "python tests/benchmarks/metrics_published_clips.py --real-dir DIR --out results"
EARLIER = {
    "motif": (0.294, 0.9772, 1.18, 5.09, 16.8),
    "dynamicrafter": (0.608, 0.9579, 3.92, 10.61, 33.9),
    "cinemo": (0.157, 0.9900, 0.48, 3.23, 9.0),
    "cond_leak": (0.216, 0.9748, 1.66, 4.64, 24.4),
}
"""An independent run with the same formulas and DIS, over the 51 clips per model of the published project page:
dynamic degree, temporal flickering, mean flow px, top-5 % flow px, last-first difference."""
COLUMNS = ("dynamic_degree", "temporal_flickering", "flow_mean_px", "flow_top5_px", "last_first_difference")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--real-dir", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    bench = load_bench(given.real_dir)
    videos, _ = find_videos(given.real_dir / "videos", bench)
    wishes = Wishes()
    tools = build_tools(wishes)
    with tempfile.TemporaryDirectory() as folder:
        frame = to_frame(evaluate(with_stills(videos), tools, ValueCache(Path(folder) / "cache.jsonl")))
    cells = model_means(frame)
    settings = describe(tools, wishes)
    date = datetime.now(UTC).date().isoformat()
    told = {"command": COMMAND, "date": date, "settings": settings, "means": [asdict(cell) for cell in cells]}
    per_video = json.loads(frame.drop(columns=["undefined", "image_id"]).to_json(orient="records"))
    write_bytes(
        given.out / "metrics_published_clips.json", json.dumps(told | {"per_video": per_video}, indent=1).encode()
    )
    text = page(as_markdown(cells), frame.groupby("model")[list(COLUMNS)].mean().to_dict("index"), date, settings)
    write_bytes(given.out / "metrics_published_clips.md", text.encode())
    print(text)


def page(table: str, means: dict[str, dict[str, float]], date: str, settings: dict[str, object]) -> str:
    lines = [
        "# Weight-free metrics of published clips",
        "",
        "Our measurement on 16 of the clips that the authors of MotiF published for each of five models (320×320,",
        f"16 frames, 8 fps, seed 0). {date}; flow: {settings['flow']}; per-video values in the `.json` beside this.",
        f"Repeat with `{COMMAND}`.",
        "",
        "Read with care: the input pictures used here are not the benchmark's own but first frames of a published",
        "model's clips (320×320), so first-frame fidelity favours that model and is not comparable between models.",
        "DIS flow is not RAFT flow: dynamic degree is VBench's formula, not VBench's number. 16 clips are few.",
        "",
        table,
        "## Beside an earlier run",
        "",
        "The same formulas under DIS, from a separate program over 51 clips per model of the same page. First number:",
        "here (16 clips), second: there (51 clips).",
        "",
        "| model | dynamic degree | temporal flickering | mean flow px | top 5 % flow px | last - first |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for model, there in EARLIER.items():
        if model in means:
            pairs = zip((means[model][column] for column in COLUMNS), there, (3, 4, 2, 2, 1), strict=True)
            lines.append(f"| {model} | " + " | ".join(f"{a:.{d}f} / {b:.{d}f}" for a, b, d in pairs) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
