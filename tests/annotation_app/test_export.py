"""The vote table as a file."""

import pandas as pd

from annotation_app.export import as_csv


def test_a_csv_of_votes_says_true_and_false_in_small_letters() -> None:
    table = pd.DataFrame({"vote_id": ["1", "2"], "simulated": [True, False]})
    assert as_csv(table) == b"vote_id,simulated\n1,true\n2,false\n"
