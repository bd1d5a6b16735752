"""Load on the annotation app: simulated annotators through the real HTTP surface of a server process.

    python -m tests.benchmarks.app_load --out results/app [--quick]

Writes load.json and load.md from one run; with --only it prints some rows and writes nothing. The generator runs on the
same machine beside the server, as the figures say.
"""

import argparse
import datetime
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import numpy as np

from annotation_app.settings import Protocol
from annotation_app.simulate import simulate, toss_coin
from tests.annotation_app.conftest import MODELS, fill_study, free_port

SECRET = "for this benchmark only"
TICKS = os.sysconf("SC_CLK_TCK")


def make_study(folder: Path, pairs: int, votes: int) -> Path:
    database = folder / f"load-{pairs}-{votes}-{time.monotonic_ns()}.db"
    protocol = Protocol(gold_every=10, repeat_every=20)
    fill_study(str(database), folder, pairs, pairs, MODELS, votes, "star", 20, 0, protocol, {})
    return database


@contextmanager
def server_process(database: Path, mode: str = "app") -> Iterator[tuple[str, int]]:
    port = free_port()
    command = [sys.executable, "-m", "tests.benchmarks.app_serve", mode, str(database), str(port), SECRET]
    process = subprocess.Popen(command)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(url)
        httpx.get(url, timeout=60)  # the page is built by now; its import is no part of a vote
        yield url, process.pid
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(20)


def wait_for(url: str, seconds: float = 60) -> float:
    began = time.monotonic()
    with httpx.Client(timeout=2) as client:
        while time.monotonic() - began < seconds:
            try:
                if client.get(f"{url}/health").status_code == 200:
                    return time.monotonic() - began
            except httpx.TransportError:
                time.sleep(0.02)
    raise TimeoutError(f"{url} did not answer in {seconds} s")


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def watch_states(url: str, stop: threading.Event, found: list[float]) -> None:
    """Ask for the state as a reloading page does, while others vote."""
    with httpx.Client(base_url=url, timeout=30) as client:
        client.post("/api/simulated", json={"secret": SECRET, "name": "watcher"})
        client.post("/api/consent", json={"agreed": True})
        client.post("/api/begin", json={})
        while not stop.wait(0.5):
            began = time.perf_counter()
            client.get("/api/state")
            found.append(time.perf_counter() - began)


def measure(url: str, pid: int, annotators: int, most: int, think: tuple[float, float]) -> dict[str, object]:
    stop, states, samples = threading.Event(), list[float](), list[float]()
    watchers = [
        threading.Thread(target=watch_states, args=(url, stop, states)),
        threading.Thread(target=watch_memory, args=(pid, stop, samples)),
    ]
    for watcher in watchers:
        watcher.start()
    cpu, began, memory = cpu_seconds(pid), time.perf_counter(), memory_mb(pid)
    done = simulate(url, SECRET, annotators, most=most, judge=toss_coin, think=think, workers=annotators)
    wall, spent = time.perf_counter() - began, cpu_seconds(pid) - cpu
    stop.set()
    for watcher in watchers:
        watcher.join()
    return {
        "annotators": annotators,
        "think_s": list(think),
        "votes": done.votes,
        "errors": len(done.errors),
        "votes_per_s": round(done.votes / wall, 1),
        **percentiles("vote", done.vote_seconds),
        **percentiles("choice", done.choice_seconds),
        "next_p95_ms": round(1000 * float(np.percentile(states, 95)), 1) if states else None,
        "cpu_ms_per_vote": round(1000 * spent / max(done.votes, 1), 2),
        "memory_before_mb": round(memory),
        "memory_after_mb": round(memory_mb(pid)),
        "memory_quarters_mb": [round(samples[(len(samples) - 1) * part // 4]) for part in (1, 2, 3, 4)],
        "load_average": round(os.getloadavg()[0], 1),
    }


def watch_memory(pid: int, stop: threading.Event, found: list[float]) -> None:
    found.append(memory_mb(pid))
    while not stop.wait(0.5):
        found.append(memory_mb(pid))


def percentiles(name: str, seconds: list[float]) -> dict[str, float]:
    return {f"{name}_p{p}_ms": round(1000 * float(np.percentile(seconds, p)), 1) for p in (50, 95, 99)}


def runs(quick: bool) -> list[tuple[str, Callable[[Path], dict[str, object]]]]:
    few = 4 if quick else 12
    full = 20 if quick else 50

    def paced(annotators: int) -> Callable[[Path], dict[str, object]]:
        def run(folder: Path) -> dict[str, object]:
            with server_process(make_study(folder, 400, 5)) as (url, pid):
                return measure(url, pid, annotators, few, (5.0, 10.0))

        return run

    def fast(annotators: int) -> Callable[[Path], dict[str, object]]:
        def run(folder: Path) -> dict[str, object]:
            with server_process(make_study(folder, 2000, 5)) as (url, pid):
                return measure(url, pid, annotators, full, (0.0, 0.0))

        return run

    def long(folder: Path) -> dict[str, object]:
        with server_process(make_study(folder, 2000, 5)) as (url, pid):
            measure(url, pid, 20, 50, (0.0, 0.0))  # warm up: a thousand votes
            return measure(url, pid, 20, 100 if quick else 1000, (0.0, 0.0))

    def bare(folder: Path) -> dict[str, object]:
        return compare_with_bare(folder, 300 if quick else 1500)

    return [
        ("50 annotators, 5–10 s between answers", paced(50)),
        ("200 annotators, 5–10 s between answers", paced(200)),
        ("50 annotators, full speed", fast(50)),
        ("200 annotators, full speed", fast(200)),
        ("20,000 votes, 20 annotators, full speed", long),
        ("choice and vote against bare FastAPI routes with the same writes", bare),
    ]


def compare_with_bare(folder: Path, votes: int) -> dict[str, object]:
    """Server CPU per vote, one request after the other: choice and vote, and the same statements in a bare app.

    A new annotator comes in after each hundred votes; coming in is not counted.
    """
    spent = {mode: {"choice": 0.0, "vote": 0.0} for mode in ("app", "bare")}
    with ExitStack() as stack:
        servers = {
            mode: stack.enter_context(server_process(make_study(folder, 1000, 5), mode)) for mode in ("app", "bare")
        }
        for url, pid in servers.values():
            vote_alone(url, pid, "warm up")
        for number in range(votes // 100):  # in turn, so that what else the machine does weighs on both alike
            for mode, (url, pid) in servers.items():
                for what, seconds in vote_alone(url, pid, f"person {number}").items():
                    spent[mode][what] += seconds / votes * 1000
    app, bare = spent["app"], spent["bare"]
    return {
        "votes": votes,
        **{f"{what}_cpu_ms": round(app[what], 2) for what in app},
        **{f"bare_{what}_cpu_ms": round(bare[what], 2) for what in bare},
        **{f"{what}_ratio": round(app[what] / bare[what], 2) for what in app},
        "ratio": round(sum(app.values()) / sum(bare.values()), 2),
    }


def vote_alone(url: str, pid: int, name: str) -> dict[str, float]:
    """Let one annotator change their mind a hundred times, then answer a hundred tasks; the server's CPU seconds."""
    with httpx.Client(base_url=url) as client:

        def choose(choice: str) -> None:
            client.post("/api/choose", json={"token": state["token"], "choice": choice})

        client.post("/api/simulated", json={"secret": SECRET, "name": name})
        client.post("/api/consent", json={"agreed": True})
        state = client.post("/api/begin", json={}).json()["state"]
        began = cpu_seconds(pid)
        for number in range(100):
            choose(("left", "right")[number % 2])
        chosen = cpu_seconds(pid)
        for _ in range(100):
            choose("left")
            body = {"token": state["token"], "choice": "left", "reasons": ["object_motion"], "loops": 1}
            state = client.post("/api/vote", json=body).json()["state"]
        choice = chosen - began
        return {"choice": choice, "vote": cpu_seconds(pid) - chosen - choice}


def machine() -> dict[str, object]:
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="minutes"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, generator and server on the same machine",
        "python": platform.python_version(),
        "database": "SQLite, WAL, synchronous FULL",
    }


def markdown(report: dict[str, object]) -> str:
    lines = [
        "# Load on the annotation app",
        "",
        "Simulated annotators over HTTP; nothing here is evidence about a model.",
        "",
    ]
    lines += [f"- {key}: {value}" for key, value in report["machine"].items()]  # type: ignore[attr-defined]
    columns = ("votes", "errors", "votes_per_s", "vote_p50_ms", "vote_p95_ms", "vote_p99_ms", "choice_p95_ms")
    more = ("next_p95_ms", "cpu_ms_per_vote", "memory_before_mb", "memory_quarters_mb", "load_average")
    lines += ["", "| run | " + " | ".join((*columns, *more)) + " |", "| --- " * (len(columns) + len(more) + 1) + "|"]
    for name, row in report["runs"].items():  # type: ignore[attr-defined]
        if "vote_p50_ms" in row:
            lines.append(f"| {name} | " + " | ".join(str(row[key]) for key in (*columns, *more)) + " |")
    for name, row in report["runs"].items():  # type: ignore[attr-defined]
        if "ratio" in row:
            lines += [
                "",
                f"{name}: vote {row['vote_cpu_ms']} ms CPU, bare {row['bare_vote_cpu_ms']}, ratio {row['vote_ratio']};",
                f"choice {row['choice_cpu_ms']} ms, bare {row['bare_choice_cpu_ms']}, ratio {row['choice_ratio']};",
                f"both together: ratio {row['ratio']}.",
            ]
    lines += [
        "",
        "A vote is two requests, the choice and then the vote with its reasons; CPU is the server's for both, with the",
        "session, the state and the next task. `next` is a reload of the page meanwhile. Memory is the server's",
        "resident set before the run and after each quarter of it, in MiB; the long run starts after a thousand votes.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", help="part of a run's name; nothing is written then")
    chosen = parser.parse_args()
    report: dict[str, object] = {"machine": machine(), "runs": {}}
    with tempfile.TemporaryDirectory() as folder:
        for name, run in runs(chosen.quick):
            if chosen.only is None or chosen.only in name:
                report["runs"][name] = {**run(Path(folder)), "date": machine()["date"]}  # type: ignore[index]
                print(name, json.dumps(report["runs"][name]), flush=True)  # type: ignore[index]
    if chosen.only is not None:
        return
    chosen.out.mkdir(parents=True, exist_ok=True)
    (chosen.out / "load.json").write_text(json.dumps(report, indent=1) + "\n")
    (chosen.out / "load.md").write_text(markdown(report))


if __name__ == "__main__":
    main()
