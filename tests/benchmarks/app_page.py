"""The annotator's page in Chromium on loopback: how soon the next task is on the screen, and plays, after Enter.

    python -m tests.benchmarks.app_page --out results/app [--tasks 40]

Writes page.json and page.md. Clips have the published study's form (320x320, 16 frames, 8 fps); the server is a process
of its own on the same machine. Times are taken in the page: from the key press to the frame that shows the new prompt,
and to the moment at which both videos play.
"""

import argparse
import json
import os
import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from playwright.sync_api import Page, sync_playwright

from annotation_app.create import StudyPlan, create_study
from annotation_app.settings import Protocol, StudySettings
from tests.annotation_app.conftest import PLAIN, write_bench
from tests.benchmarks.app_load import machine, server_process
from ti2v_bench.video import write_video

TARGETS = {"visible": 0.3, "plays": 1.0}
"""Seconds."""

_WATCH = """() => {
  const prompt = document.querySelector('[data-id=prompt]'), clips = [...document.querySelectorAll('video')];
  window.__times = [];
  window.addEventListener('keydown', (event) => { // before the page's own listener, which stops the event
    if (event.key !== 'Enter') return;
    const began = performance.now(), before = prompt.textContent, entry = {};
    window.__times.push(entry);
    const seen = () => {
      const now = performance.now();
      if (prompt.textContent === before) return requestAnimationFrame(seen);
      entry.visible ??= now - began;
      if (clips.every((clip) => !clip.paused && clip.currentTime > 0 && clip.readyState >= 3)) {
        entry.plays = now - began;
      } else requestAnimationFrame(seen);
    };
    requestAnimationFrame(seen);
  }, true);
}"""


def make_study(folder: Path, pairs: int, protocol: Protocol) -> Path:
    """Moving noise in the published form: larger files than most real clips."""
    bench, draw = write_bench(folder / "bench", pairs, size=320), np.random.default_rng(0)
    for number, pair in enumerate(bench.pairs):
        base = draw.integers(0, 255, (40, 40, 3), dtype=np.uint8).repeat(8, axis=0).repeat(8, axis=1)
        for model in ("alpha", "bravo"):
            step = 3 + number % 5 if model == "alpha" else 1
            write_video(
                folder / "videos" / model / f"{pair.id}_0.mp4",
                np.stack([np.roll(base, step * frame, axis=1) for frame in range(16)]),
                8,
            )
    plan = StudyPlan(("alpha", "bravo"), "star", "alpha", 1, "Page", StudySettings(protocol=protocol))
    create_study(folder / "study.db", bench, folder / "videos", plan)
    return folder / "study.db"


def walk(page: Page, url: str, tasks: int) -> list[dict[str, float]]:
    page.set_default_timeout(60_000)
    page.goto(url)
    page.fill("#ti2v-name", "benchmark")
    page.keyboard.press("Enter")
    page.click("[data-act=agree]")
    page.click("[data-act=begin]")
    page.wait_for_selector("[data-stage=task]:visible")
    page.evaluate(_WATCH)
    for number in range(tasks):
        page.wait_for_selector("[data-id=choiceSet]:not([disabled])")
        page.keyboard.press("ab"[number % 2])
        page.keyboard.press("1")
        page.keyboard.press("Enter")
        page.wait_for_function(f"document.querySelector('[data-id=count]').textContent.startsWith('{number + 2} ')")
        page.wait_for_function("window.__times.at(-1).plays > 0")
    return list(page.evaluate("window.__times"))


def measure(tasks: int) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        database = make_study(Path(name), tasks + 2, replace(PLAIN, break_every=0))
        path = shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        with server_process(database) as (url, _):
            began = time.perf_counter()
            page = browser.new_page()
            page.goto(url)
            page.wait_for_selector("[data-stage=door]:visible", timeout=60_000)
            first = time.perf_counter() - began
            times = walk(page, url, tasks)
        browser.close()
        chromium = browser.version
    found: dict[str, object] = {"tasks": tasks, "first_page_s": round(first, 2), "chromium": chromium}
    for what, target in TARGETS.items():
        seconds = [entry[what] / 1000 for entry in times]
        found[what] = {
            "p50_s": round(float(np.median(seconds)), 3),
            "p95_s": round(float(np.percentile(seconds, 95)), 3),
            "max_s": round(max(seconds), 3),
            "target_s": target,
        }
    return {**found, "load_average": round(os.getloadavg()[0], 1)}


def markdown(report: dict[str, object]) -> str:
    run: dict[str, object] = report["page"]  # type: ignore[assignment]
    lines = ["# The page in a browser", ""]
    lines += [f"- {key}: {value}" for key, value in report["machine"].items() if key != "database"]  # type: ignore[attr-defined]
    lines += [f"- {key.replace('_', ' ')}: {value}" for key, value in run.items() if key not in TARGETS]
    lines += [
        "",
        "| after Enter, the next task | p50 s | p95 s | max s | target s |",
        "| --- | --- | --- | --- | --- |",
    ]
    for what in TARGETS:
        lines.append(f"| {what} | " + " | ".join(str(value) for value in run[what].values()) + " |")  # type: ignore[attr-defined]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tasks", type=int, default=40)
    chosen = parser.parse_args()
    report: dict[str, object] = {"machine": machine(), "page": measure(chosen.tasks)}
    print(json.dumps(report["page"]), flush=True)
    chosen.out.mkdir(parents=True, exist_ok=True)
    (chosen.out / "page.json").write_text(json.dumps(report, indent=1) + "\n")
    (chosen.out / "page.md").write_text(markdown(report))


if __name__ == "__main__":
    main()
