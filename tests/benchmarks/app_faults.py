"""Faults on the annotation app: votes go on while the server is killed and connections, clocks and disks fail.

    python -m tests.benchmarks.app_faults --out results/app [--votes 10000]

Annotators vote over HTTP; at random the server is killed (SIGKILL) and started again, a connection is dropped before
the answer is read, a vote is sent twice at once (a double click), an annotator works in two tabs, another process locks
the database, and the server's clock and disk fail on request. Every acknowledged vote must be in the database, once.
The run is made twice: with one server on SQLite, then with two servers on a PostgreSQL that is started for it, where
each annotator's requests reach either of them.
"""

import argparse
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from sqlalchemy import create_engine, text

from annotation_app.database import Database, parse_url
from annotation_app.export import vote_table
from annotation_app.settings import Protocol
from tests.annotation_app.conftest import MODELS, fill_study, free_port, new_postgres_database, postgres_running
from tests.benchmarks.app_load import SECRET, cpu_seconds, machine, wait_for

FAULTS = ("kill", "drop", "double", "tabs", "lock", "clock", "disk")


@dataclass
class Tally:
    """What happened; shared by all threads."""

    acknowledged: dict[str, str] = field(default_factory=dict)
    """Token of an acknowledged vote to the choice that was sent."""
    faults: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    back_seconds: list[float] = field(default_factory=list)
    """From the start of a killed server's successor to its first answer."""
    back_cpu: list[float] = field(default_factory=list)
    """Its processor time until then, which does not depend on what else the machine does."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, fault: str) -> None:
        with self.lock:
            self.faults[fault] += 1


class Servers:
    """One or two server processes on fixed ports, killed and started again."""

    def __init__(self, database: str, number: int, folder: Path) -> None:
        self.database = database
        self.folder = folder
        self.ports = [free_port() for _ in range(number)]
        self.processes = [self._start(port) for port in self.ports]
        for port in self.ports:
            wait_for(f"http://127.0.0.1:{port}")

    def _start(self, port: int) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "tests.benchmarks.app_serve", "faulty", self.database, str(port), SECRET]
        return subprocess.Popen([*command, str(self.folder)])

    def kill_one(self, draw: random.Random) -> tuple[float, float]:
        """SIGKILL a server, start it again, and return wall and processor seconds until it answers."""
        which = draw.randrange(len(self.ports))
        self.processes[which].send_signal(signal.SIGKILL)
        self.processes[which].wait()
        self.processes[which] = self._start(self.ports[which])
        wall = wait_for(f"http://127.0.0.1:{self.ports[which]}")
        return wall, cpu_seconds(self.processes[which].pid)

    def stop(self) -> None:
        for process in self.processes:
            process.send_signal(signal.SIGINT)
            process.wait(30)


class Annotator:
    """One simulated person with their session, who meets faults."""

    def __init__(self, number: int, servers: Servers, tally: Tally) -> None:
        self.draw = random.Random(number)
        self.number, self.servers, self.tally = number, servers, tally
        self.client = httpx.Client(timeout=15)
        self.state = self.ask("simulated", {"secret": SECRET, "name": str(number)})["state"]

    def url(self) -> str:
        return f"http://127.0.0.1:{self.draw.choice(self.servers.ports)}/api/"

    def ask(self, path: str, body: dict[str, object] | None) -> dict:  # type: ignore[type-arg]
        for _ in range(400):
            try:
                reply = (
                    self.client.get(self.url() + path)
                    if body is None
                    else self.client.post(self.url() + path, json=body)
                )
                if reply.status_code == 500:
                    self.tally.problems.append(f"500 from {path}: {reply.text[:200]}")
                if reply.status_code not in (429, 500, 502, 503, 504):
                    return dict(reply.json())
            except httpx.TransportError:
                pass
            time.sleep(0.3)  # the page waits as long
        raise ConnectionError(path)

    def vote_once(self) -> None:
        stage = self.state["stage"]
        if stage in ("consent", "instructions"):
            body = {"agreed": True} if stage == "consent" else {}
            self.state = self.ask("consent" if stage == "consent" else "begin", body)["state"]
            return
        if stage == "finished":
            self.state = self.ask("more", {})["state"]
            return
        token, choice = self.state["token"], self.draw.choice(("left", "right"))
        chosen = self.ask("choose", {"token": token, "choice": choice})
        if "chosen" not in chosen:
            self.state = chosen["state"]
            return
        body = {"token": token, "choice": choice, "reasons": ["object_motion"], "loops": 1}
        fault = self.draw.random()
        if fault < 0.05:
            self.drop(body)
        if fault > 0.95:
            twin = threading.Thread(target=self.send_copy, args=(body,))
            twin.start()
        if 0.9 < fault < 0.95:
            self.tally.count("tabs")
            self.send_copy(None)
        reply = self.ask("vote", body)
        if fault > 0.95:
            twin.join()
            reply["state"] = self.ask("state", None)["state"]
        if "saved" in reply:
            with self.tally.lock:
                self.tally.acknowledged[token] = choice
        self.state = reply["state"]

    def drop(self, body: dict[str, object]) -> None:
        """Send the vote and hang up before the answer comes; the page then sends it again."""
        self.tally.count("drop")
        try:
            self.client.post(self.url() + "vote", json=body, timeout=httpx.Timeout(5, read=0.0005))
        except httpx.TransportError:
            return

    def send_copy(self, body: dict[str, object] | None) -> None:
        """A second click, or a second tab that loads the page, at the same moment."""
        cookies = dict(self.client.cookies)
        try:
            with httpx.Client(timeout=15, cookies=cookies) as other:
                if body is None:
                    other.get(self.url() + "state")
                else:
                    self.tally.count("double")
                    other.post(self.url() + "vote", json=body)
        except httpx.TransportError:
            return


def disturb(servers: Servers, tally: Tally, stop: threading.Event, database: str, folder: Path) -> None:
    draw = random.Random(99)
    while not stop.wait(draw.uniform(3.0, 9.0)):
        fault = draw.choice(("kill", "kill", "lock", "clock", "disk"))
        if fault == "kill":
            wall, cpu = servers.kill_one(draw)
            tally.back_seconds.append(wall)
            tally.back_cpu.append(cpu)
        elif fault == "lock":
            hold_lock(database, draw.uniform(0.2, 1.5))
        elif fault == "clock":
            (folder / "clock").write_text(str(draw.choice((-7200, -60, 0, 60, 7200))))
        elif fault == "disk" and "://" not in database:
            (folder / "disk").touch()
            time.sleep(draw.uniform(0.2, 1.0))
            (folder / "disk").unlink()
        else:
            continue
        tally.count(fault)


def hold_lock(database: str, seconds: float) -> None:
    if "://" in database:
        engine = create_engine(database)
        with engine.begin() as other:
            other.execute(text("LOCK TABLE comparison IN ACCESS EXCLUSIVE MODE"))
            time.sleep(seconds)
        engine.dispose()
        return
    connection = sqlite3.connect(database, timeout=10, isolation_level=None)
    try:
        connection.execute("BEGIN EXCLUSIVE")
        time.sleep(seconds)
        connection.execute("ROLLBACK")
    finally:
        connection.close()


def work(number: int, servers: Servers, tally: Tally, target: int, stop: threading.Event) -> None:
    try:
        annotator = Annotator(number, servers, tally)
        while len(tally.acknowledged) < target and not stop.is_set():
            annotator.vote_once()
    except Exception as error:
        tally.problems.append(f"annotator {number}: {type(error).__name__}: {error}")


def run(database: str, folder: Path, votes: int, number_of_servers: int) -> dict[str, object]:
    tally, stop = Tally(), threading.Event()
    servers = Servers(database, number_of_servers, folder)
    began = time.monotonic()
    workers = [threading.Thread(target=work, args=(n, servers, tally, votes, stop)) for n in range(20)]
    trouble = threading.Thread(target=disturb, args=(servers, tally, stop, database, folder))
    for thread in (*workers, trouble):
        thread.start()
    for thread in workers:
        thread.join()
    stop.set()
    trouble.join()
    seconds = time.monotonic() - began
    servers.stop()
    return {
        "servers": number_of_servers,
        "seconds": round(seconds),
        "faults": dict(sorted(tally.faults.items())),
        "slowest_restart_s": round(max(tally.back_seconds, default=0.0), 2),
        "median_restart_s": round(sorted(tally.back_seconds)[len(tally.back_seconds) // 2], 2)
        if tally.back_seconds
        else None,
        "median_restart_cpu_s": round(sorted(tally.back_cpu)[len(tally.back_cpu) // 2], 2) if tally.back_cpu else None,
        "problems": tally.problems[:20],
        **judge(database, tally),
    }


def judge(database: str, tally: Tally) -> dict[str, object]:
    """Compare what was acknowledged with what is stored, by plain SQL."""
    opened = Database(parse_url(database))
    with opened.read() as connection:
        stored = connection.execute(text("SELECT t.token, v.choice FROM vote v JOIN task t ON t.id = v.task")).all()
        over = connection.execute(
            text("SELECT count(*) FROM comparison WHERE kind = 'main' AND done > wanted")
        ).scalar_one()
        wrong = connection.execute(
            text(
                "SELECT count(*) FROM comparison c WHERE kind = 'main' AND done <> "
                "(SELECT count(*) FROM vote v WHERE v.comparison = c.id AND v.kind = 'main')"
            )
        ).scalar_one()
        check = connection.execute(text("PRAGMA integrity_check")).scalar_one() if opened.is_sqlite else "SQLite only"
    opened.dispose()
    tokens = Counter(token for token, _ in stored)
    choices = dict(stored)  # type: ignore[arg-type]
    return {
        "acknowledged": len(tally.acknowledged),
        "stored": len(stored),
        "acknowledged_but_lost": sum(token not in tokens for token in tally.acknowledged),
        "stored_twice": sum(count > 1 for count in tokens.values())
        + int(vote_table(database)["vote_id"].duplicated().sum()),
        "stored_with_another_choice": sum(choices.get(t, c) != c for t, c in tally.acknowledged.items()),
        "comparisons_with_too_many": over,
        "counters_that_disagree": wrong,
        "integrity_check": check,
    }


def shown(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{count} {name}" for name, count in value.items())
    return str(value) if value != [] else "none"


def markdown(report: dict[str, object]) -> str:
    lines = [
        "# Faults on the annotation app",
        "",
        "Simulated annotators over HTTP; nothing here is evidence about a model.",
        "",
    ]
    lines += [f"- {key}: {value}" for key, value in report["machine"].items() if key != "database"]  # type: ignore[attr-defined]
    runs: dict[str, dict[str, object]] = report["runs"]  # type: ignore[assignment]
    lines += ["", "| | " + " | ".join(runs) + " |", "| --- " * (len(runs) + 1) + "|"]
    for key in next(iter(runs.values())):
        lines.append(
            f"| {key.replace('_', ' ')} | " + " | ".join(shown(row.get(key, "")) for row in runs.values()) + " |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--votes", type=int, default=10_000)
    chosen = parser.parse_args()
    report: dict[str, object] = {"machine": machine(), "runs": {}}
    with tempfile.TemporaryDirectory() as name:
        database = str(Path(name) / "faults.db")
        report["runs"]["SQLite, one server"] = one_run(database, Path(name) / "sqlite", chosen.votes, 1)  # type: ignore[index]
        with postgres_running("-c max_connections=100") as server:
            database = new_postgres_database(server)
            report["runs"]["PostgreSQL, two servers"] = one_run(database, Path(name) / "postgres", chosen.votes, 2)  # type: ignore[index]
    chosen.out.mkdir(parents=True, exist_ok=True)
    (chosen.out / "faults.json").write_text(json.dumps(report, indent=1) + "\n")
    (chosen.out / "faults.md").write_text(markdown(report))


def one_run(database: str, folder: Path, votes: int, servers: int) -> dict[str, object]:
    folder.mkdir()
    pairs = max(votes // 8, 4)
    protocol = Protocol(gold_every=10, repeat_every=20)
    fill_study(database, folder, pairs, pairs, MODELS, 5, "star", 20, 0, protocol, {})
    found = {**run(database, folder, votes, servers), "load_average": round(os.getloadavg()[0], 1)}
    print(json.dumps(found, indent=1), flush=True)
    return found


if __name__ == "__main__":
    main()
