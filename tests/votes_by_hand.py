"""Small and random vote tables for the tests of votes, statistics and leaderboards."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ti2v_bench.votes import REASONS, check_votes

COLUMNS = ("pair_id", "left", "right", "choice", "annotator")


def votes(*rows: tuple[str, str, str, str, str]) -> pd.DataFrame:
    """A checked table of the required columns only."""
    return check_votes(pd.DataFrame(list(rows), columns=list(COLUMNS)))


def random_votes(
    models: Sequence[str] = ("A", "B"),
    pairs: int = 24,
    scenarios: int = 6,
    annotators: int = 8,
    votes_each: int = 5,
    seed: int = 0,
    choices: Sequence[float] = (0.5, 0.5, 0.0, 0.0),
    star: bool = True,
) -> pd.DataFrame:
    """An unchecked table with every column of the contract; choices are drawn at random, marked simulated."""
    rng = np.random.default_rng(seed)
    matches = [(a, b) for i, a in enumerate(models) for b in models[i + 1 :] if not star or i == 0]
    rows = []
    for first, second in matches:
        for pair in range(pairs):
            for annotator in rng.permutation(annotators)[:votes_each]:
                left, right = (first, second) if rng.random() < 0.5 else (second, first)
                choice = rng.choice(["left", "right", "tie", "both_bad"], p=choices)
                given = [reason for reason in REASONS if rng.random() < 0.4]
                row = {
                    "vote_id": f"v{len(rows)}",
                    "study": "s",
                    "pair_id": f"p{pair:03d}",
                    "image_id": f"i{pair // 2:03d}",
                    "scenario": f"s{pair // 2 % scenarios:02d}",
                    "left": left,
                    "right": right,
                    "choice": choice,
                    "reasons": ";".join(given) or "none",
                    "annotator": f"a{annotator:02d}",
                    "kind": "main",
                    "shown_at": "2026-01-01T00:00:00Z",
                    "answered_at": f"2026-01-01T00:00:{rng.integers(5, 50):02d}Z",
                    "simulated": "true",
                }
                rows.append(row)
    return pd.DataFrame(rows)
