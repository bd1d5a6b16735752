"""The live report: made in a process of its own, so that annotators do not wait for it, and kept until votes change."""

import json
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from annotation_app.settings import StudyError

_FRESH_SECONDS = 5.0
"""A report younger than this is shown as it is."""
_CANNOT = 3
"""Exit status of a report that cannot be made from these votes."""


@dataclass(frozen=True)
class LiveReport:
    """One state of the report."""

    html: str
    made_at: float


class Reporter:
    """Keeps the newest report of one study; several readers share one process that makes it."""

    def __init__(self, database: str, title: str, star: str | None) -> None:
        self._request = json.dumps({"database": database, "title": title, "star": star})
        self._latest: LiveReport | StudyError | None = None
        self._until = 0.0
        self._lock = threading.Lock()

    def report(self) -> LiveReport:
        """The report, at most a few seconds old.

        Raises:
            StudyError: it cannot be made; the text says why (for instance, that there are no votes yet).
        """
        with self._lock:
            if self._latest is None or time.monotonic() > self._until:
                try:
                    self._latest = LiveReport(self._make(), time.monotonic())
                except StudyError as error:
                    self._latest = error
                self._until = time.monotonic() + _FRESH_SECONDS
            if isinstance(self._latest, StudyError):
                raise self._latest
            return self._latest

    def _make(self) -> str:
        with TemporaryDirectory(prefix="ti2v-report-") as folder:
            command = [sys.executable, "-m", "annotation_app.live", folder]
            # The database's address goes through standard input: a command line is visible to everybody.
            done = subprocess.run(
                command, input=self._request, capture_output=True, text=True, timeout=300, check=False
            )
            if done.returncode == _CANNOT:
                raise StudyError(done.stderr.strip())
            if done.returncode:
                print(done.stderr, file=sys.stderr)  # for whoever runs the server; a page shows no trace
                raise StudyError("The report could not be made just now. The server's own output says why.")
            return (Path(folder) / "leaderboard.html").read_text(encoding="utf-8")


def main() -> None:
    """Write the report that standard input asks for into the folder given as argument."""
    from annotation_app.export import vote_table
    from ti2v_bench.errors import TI2VError
    from ti2v_bench.leaderboard import ReportSettings, write_report
    from ti2v_bench.votes import check_votes

    asked = json.load(sys.stdin)
    try:
        votes = vote_table(asked["database"])
        if not (votes["kind"] == "main").any():
            raise StudyError("There are no votes yet.")
        settings = ReportSettings(star=asked["star"], title=asked["title"], resamples=500)
        write_report(check_votes(votes, asked["title"]), Path(sys.argv[1]), settings)
    except TI2VError as error:
        print(error, file=sys.stderr)
        sys.exit(_CANNOT)


if __name__ == "__main__":
    main()
