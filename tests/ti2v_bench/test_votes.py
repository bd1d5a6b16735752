"""Vote tables: every bad row is named, and clean ones are read the same from csv, parquet and memory."""

from pathlib import Path

import pandas as pd
import pytest

from tests.votes_by_hand import COLUMNS, random_votes
from ti2v_bench.votes import VotesError, check_votes, read_votes


def dirty(column: str, value: object, row: int = 3) -> pd.DataFrame:
    frame = random_votes().astype(object)
    frame.loc[row - 1, column] = value
    return frame


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("choice", "lft", "'lft' is not one of left, right, tie, both_bad"),
        ("choice", "Left", "'Left' is not one of"),
        ("annotator", "", "'' is empty"),
        ("annotator", None, "'' is empty"),
        ("pair_id", "  ", "is empty"),
        ("left", " A", "begins or ends with a space"),
        ("kind", "mian", "'mian' is not one of main, gold, repeat, training"),
        ("reasons", "object_motion;speed", "holds 'speed'"),
        ("reasons", "object_motion;object_motion", "names a reason twice"),
        ("reasons", "none;object_motion", "holds 'none'"),
        ("shown_at", "yesterday", "'yesterday' is not an ISO 8601 time"),
        ("answered_at", "2025-12-31T23:59:59Z", "is before shown_at"),
        ("simulated", "maybe", "'maybe' is not one of true, false"),
        ("vote_id", "v0", "'v0' occurs in an earlier row"),
        ("vote_id", "", "'' is empty"),
        ("scenario", "elsewhere", "'elsewhere' differs from an earlier row of the same pair_id"),
        ("image_id", "other", "'other' differs from an earlier row of the same pair_id"),
    ],
)
def test_a_bad_cell_is_named_with_row_column_and_value(column: str, value: object, words: str) -> None:
    with pytest.raises(VotesError) as caught:
        check_votes(dirty(column, value))
    assert f"row 3 (spreadsheet row 4), column '{column}'" in str(caught.value)
    assert words in str(caught.value)
    assert [(bad.row, bad.column) for bad in caught.value.problems] == [(3, column)]


def test_a_model_against_itself_is_a_bad_row() -> None:
    frame = random_votes()
    frame.loc[4, "right"] = frame.loc[4, "left"]
    with pytest.raises(VotesError, match=r"row 5 .* column 'right': '[AB]' is also the left model"):
        check_votes(frame)


def test_every_bad_row_is_held_though_the_message_is_cut() -> None:
    with pytest.raises(VotesError, match="and 70 more") as caught:
        check_votes(random_votes().assign(choice="?"))
    assert [bad.row for bad in caught.value.problems] == list(range(1, 121))


def test_ragged_rows_of_a_csv_are_named(tmp_path: Path) -> None:
    path = tmp_path / "votes.csv"
    path.write_text("pair_id,left,right,choice,annotator\np,A,B,left,x\np,A,B\np,A,B,left,x,y\n")
    with pytest.raises(VotesError) as caught:
        read_votes(path)
    assert [(bad.row, bad.problem) for bad in caught.value.problems] == [
        (2, "has 3 cells, not 5"),
        (3, "has 6 cells, not 5"),
    ]


HEADER = ",".join(COLUMNS) + "\n"


def read_text(folder: Path, text: str) -> pd.DataFrame:
    path = folder / "votes.csv"
    path.write_text(text, newline="")
    return read_votes(path)


def test_every_kind_of_bad_row_is_named_at_once_with_the_number_a_spreadsheet_shows(tmp_path: Path) -> None:
    rows = ['"p\n1",A,B,left,x', "", "p,A,B", "p,A,B,lft,y", ",,,,", "p,A,B,left,z"]
    with pytest.raises(VotesError) as caught:
        read_text(tmp_path, HEADER + "\r\n".join(rows) + "\r\n")
    assert [(bad.row, bad.column, bad.problem.split(",")[0]) for bad in caught.value.problems] == [
        (2, "(whole row)", "is empty"),
        (3, "(whole row)", "has 3 cells"),
        (4, "choice", "is not one of left"),
        (5, "(whole row)", "is empty"),
    ]


@pytest.mark.parametrize("end", ["\n\n\n", "\n,,,,\n\n", ""])
def test_empty_rows_below_the_last_vote_do_no_harm(tmp_path: Path, end: str) -> None:
    assert len(read_text(tmp_path, HEADER + "p,A,B,left,x" + end)) == 1
    assert len(read_text(tmp_path, HEADER.strip() + end)) == 0


def test_a_byte_that_is_not_utf_8_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "v.csv"
    path.write_bytes(HEADER.encode() + b"p,A,B,left,x\n" * 70_000 + b"p,caf\xe9,B,left,x\n")
    with pytest.raises(VotesError, match="byte 0xe9 in line 70002"):
        read_votes(path)


def test_a_folder_and_a_forbidden_file_are_refused_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(VotesError, match="is a folder"):
        read_votes(tmp_path)

    def forbidden(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "v.csv").write_text(HEADER)
    monkeypatch.setattr(Path, "open", forbidden)
    with pytest.raises(VotesError, match=r"v\.csv cannot be read: Permission denied"):
        read_votes(tmp_path / "v.csv")


def test_what_parquet_kept_as_index_or_bytes_is_read_like_any_column(tmp_path: Path) -> None:
    frame = random_votes()
    frame.assign(left=frame["left"].str.encode("utf-8")).set_index(["pair_id", "vote_id"]).to_parquet(tmp_path / "v.pq")
    pd.testing.assert_frame_equal(read_votes(tmp_path / "v.pq"), check_votes(frame), check_like=True)


@pytest.mark.parametrize("cell", [["A"], {"name": "A"}])
def test_a_structure_in_place_of_a_name_is_refused(cell: object) -> None:
    frame = random_votes().astype(object)
    frame["left"] = [*frame["left"][:2], cell, *frame["left"][3:]]
    with pytest.raises(VotesError, match=rf"row 3 .* column 'left': .* is a {type(cell).__name__}; .* text"):
        check_votes(frame)


def test_a_long_cell_is_cut_in_the_message_but_held_whole() -> None:
    with pytest.raises(VotesError, match="…' is not one of") as caught:
        check_votes(dirty("choice", "x" * 5000))
    assert len(str(caught.value)) < 400
    assert caught.value.problems[0].value == "x" * 5000


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("\n" + HEADER, "begins with an empty line"),
        (HEADER.replace(",", ";"), "columns are separated by ';'; save it with commas"),
        ("a,b\n1,2\n", "lacks the columns pair_id, left, right, choice, annotator"),
        ("pair_id,left,right,choice,annotator,left\n", "has the column 'left' 2 times"),
        ("pair_id,left,right,choice\n", "lacks the column annotator"),
    ],
)
def test_an_unusable_csv_says_why(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "votes.csv"
    path.write_text(text)
    with pytest.raises(VotesError, match=words):
        read_votes(path)


@pytest.mark.parametrize(("name", "data"), [("v.csv", b"\xff\xfe\x00a"), ("v.parquet", b"PAR1 no"), ("v.xlsx", b"PK")])
def test_a_file_of_another_kind_is_refused_in_one_sentence(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(VotesError, match=name):
        read_votes(tmp_path / name)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(VotesError, match="No vote table at"):
        read_votes(tmp_path / "none.csv")


def test_csv_parquet_and_memory_give_the_same_table(tmp_path: Path) -> None:
    frame = random_votes(models=("A", "B", "C"))
    frame.to_csv(tmp_path / "v.csv", index=False)
    frame.to_parquet(tmp_path / "v.parquet")
    frame.assign(simulated=True, shown_at=pd.to_datetime(frame["shown_at"])).to_parquet(tmp_path / "typed.parquet")
    expected = check_votes(frame)
    for name in ("v.csv", "v.parquet", "typed.parquet"):
        pd.testing.assert_frame_equal(read_votes(tmp_path / name), expected, check_dtype=False)


def test_reasons_may_be_lists_in_parquet(tmp_path: Path) -> None:
    frame = random_votes()
    frame.assign(reasons=frame["reasons"].str.split(";")).to_parquet(tmp_path / "v.parquet")
    assert list(read_votes(tmp_path / "v.parquet")["reasons"]) == list(frame["reasons"])


def test_a_byte_order_mark_quotes_and_line_breaks_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "v.csv"
    path.write_bytes(b'\xef\xbb\xbfpair_id,left,right,choice,annotator\r\n"p,\n1",A,B,left,x\r\n')
    assert list(read_votes(path)["pair_id"]) == ["p,\n1"]


def test_columns_that_are_empty_everywhere_count_as_absent() -> None:
    frame = random_votes().assign(scenario="", shown_at=None, kind=None)
    assert not {"scenario", "shown_at", "kind"} & set(check_votes(frame))


def test_required_columns_alone_are_enough() -> None:
    assert list(check_votes(random_votes()[list(COLUMNS)]).columns) == list(COLUMNS)


def test_numbers_as_ids_become_text() -> None:
    frame = random_votes().assign(pair_id=range(120), annotator=[1.0, None] * 60)
    frame["annotator"] = frame["annotator"].fillna(2)
    checked = check_votes(frame[list(COLUMNS)])
    assert set(checked["annotator"]) == {"1", "2"}
