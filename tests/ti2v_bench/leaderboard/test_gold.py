"""Gold rows: an annotator's share right is worked out by hand."""

import pandas as pd
import pytest

from ti2v_bench.leaderboard.exclusions import checks
from ti2v_bench.votes import check_votes


def test_share_right_on_gold_rows_is_the_hand_worked_one() -> None:
    rows = [
        # pair, left, right, choice, annotator: two of three agree on each gold item, so their answer is its key
        ("p1", "good", "bad", "left", "a"),
        ("p1", "bad", "good", "right", "b"),
        ("p1", "good", "bad", "right", "c"),
        ("p2", "good", "bad", "left", "a"),
        ("p2", "good", "bad", "left", "b"),
        ("p2", "bad", "good", "right", "c"),
    ]
    table = pd.DataFrame(rows, columns=["pair_id", "left", "right", "choice", "annotator"]).assign(kind="gold")
    main = table.assign(kind="main")
    seen = checks(check_votes(pd.concat([table, main], ignore_index=True), "table"))
    assert seen.gold is not None
    assert dict(seen.gold) == pytest.approx({"a": 1.0, "b": 1.0, "c": 0.5})
