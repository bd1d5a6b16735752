"""What a training run writes down: JSONL, TensorBoard, and the clips that could not be decoded."""

import json
from collections.abc import Mapping
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from ti2v_bench.files import storage_errors, write_bytes


class Journal:
    """Logs of one run; on resuming, lines after the checkpoint's step are dropped, since they will come again."""

    def __init__(self, out: Path, from_step: int) -> None:
        with storage_errors(out):
            out.mkdir(parents=True, exist_ok=True)
        self._path, self._broken = out / "log.jsonl", out / "broken.jsonl"
        for path in (self._path, self._broken):
            _forget_after(path, from_step)
        self._board = SummaryWriter(str(out / "tensorboard"), purge_step=from_step)
        self._seen = {row["clip"] for row in read_log(self._broken)}

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """One step's numbers."""
        _append(self._path, {"step": step, **values})
        for name, value in values.items():
            self._board.add_scalar(name, value, step)

    def broken(self, step: int, clips: Mapping[str, str]) -> None:
        """Clips that were passed over; each is named once."""
        for name, reason in clips.items():
            if name not in self._seen:
                self._seen.add(name)
                _append(self._broken, {"step": step, "clip": name, "reason": reason})

    @property
    def passed_over(self) -> int:
        """How many different clips could not be decoded so far."""
        return len(self._seen)

    def close(self) -> None:
        """Flush everything."""
        self._board.close()


def read_log(path: Path) -> list[dict[str, object]]:
    """The whole lines of a JSONL file; nothing where there is none."""
    if not path.is_file():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:  # the last line of a killed run
            continue
    return rows


def _append(path: Path, row: Mapping[str, object]) -> None:
    with storage_errors(path), path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def _forget_after(path: Path, step: int) -> None:
    rows = read_log(path)
    kept = [row for row in rows if int(str(row["step"])) <= step]
    if path.is_file():
        write_bytes(path, "".join(json.dumps(row) + "\n" for row in kept).encode())
