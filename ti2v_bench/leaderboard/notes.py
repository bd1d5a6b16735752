"""What a vote table's missing columns switch off, and what a reader must know of its votes."""

import unicodedata
from collections import defaultdict
from collections.abc import Sequence

import pandas as pd

from ti2v_bench.leaderboard.exclusions import main_rows
from ti2v_bench.stats.counting import relabel
from ti2v_bench.stats.table import OPPONENT, VoteTable

NEEDS = {
    "scenario": "no scenario column: votes are clustered by pair instead, no scenario table, no fixed-bench interval",
    "image_id": "no image_id column: no fixed-bench interval",
    "reasons": "no reasons column: no reason shares",
    "kind": "no kind column: every row is taken as a main vote; no gold or repeat checks",
    "shown_at": "no shown_at column: no speed checks",
    "answered_at": "no answered_at column: no speed checks",
    "simulated": "no simulated column: votes are taken as real",
    "vote_id": "no vote_id column: duplicated rows cannot be told from second votes",
    "study": "no study column: all rows are taken as one study",
}


def table_notes(votes: pd.DataFrame, table: VoteTable) -> tuple[str, ...]:
    """One sentence per thing switched off or worth knowing, in a fixed order."""
    notes = [text for column, text in NEEDS.items() if column not in votes]
    if not table.n:
        notes.append("no main vote: nothing can be estimated")
    studies = sorted(map(str, votes["study"].unique())) if "study" in votes else []
    if len(studies) > 1:
        notes.append(f"votes of {len(studies)} studies are taken together: {', '.join(studies)}")
    for names in look_alikes(table.models):
        notes.append(f"models that differ only in case, spaces or form of letters are kept apart: {', '.join(names)}")
    again = second_votes(table)
    if again:
        notes.append(f"{again} votes are second votes of one annotator on one comparison; they are kept")
    notes += _reasons(votes, table)
    if "simulated" in votes:
        simulated = int(votes["simulated"].sum())
        if 0 < simulated < len(votes):
            notes.append(f"{simulated} of {len(votes)} rows are simulated")
    return tuple(notes)


def _reasons(votes: pd.DataFrame, table: VoteTable) -> list[str]:
    """What the reason shares leave aside."""
    if table.reasons is None or not table.n:
        return []
    empty = int((main_rows(votes)["reasons"] == "").sum())
    idle = int(((table.reasons > 0) & (table.outcome > OPPONENT)).sum())
    notes = [f"{empty} votes have an empty reasons cell, which counts as none"] if empty else []
    return notes + ([f"{idle} votes give reasons for no side; those reasons are not counted"] if idle else [])


def look_alikes(names: Sequence[str]) -> list[list[str]]:
    """Groups of names that a reader may take for one."""
    groups = defaultdict(list)
    for name in names:
        groups["".join(unicodedata.normalize("NFKC", name).casefold().split())].append(repr(name))
    return [group for group in groups.values() if len(group) > 1]


def second_votes(table: VoteTable) -> int:
    """How many votes follow an earlier one of the same annotator on the same pair and models."""
    return table.n - len(relabel(table.unit * max(len(table.annotators), 1) + table.annotator)[0])
