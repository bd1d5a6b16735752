"""Several servers on one PostgreSQL, and several threads on one SQLite file, serve one study correctly."""

import random
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from annotation_app.answers import Answer
from annotation_app.export import vote_table
from annotation_app.store import Store
from annotation_app.study import open_study
from tests.annotation_app.conftest import Lab, require_sound

MakeLab = Callable[..., Lab]


def work(stores: list[Store], name: str) -> list[str]:
    """One person whose requests reach now this server, now that one; each vote is sent twice."""
    draw = random.Random(name)
    who = draw.choice(stores).enter("simulated", name, simulated=True)
    draw.choice(stores).consent(who, True)
    state = draw.choice(stores).begin(who).state
    acknowledged = []
    while state["stage"] == "task":
        token = str(state["token"])
        answer = Answer(draw.choice(("left", "right")), ())
        assert draw.choice(stores).choose(who, token, answer.choice).refused is None
        first = draw.choice(stores).vote(who, token, answer)
        again = draw.choice(stores).vote(who, token, answer)
        assert first.saved is not None
        assert again.saved is not None
        assert again.saved.repeated
        acknowledged.append(token)
        state = draw.choice(stores).state(who).state
    return acknowledged


def test_two_servers_share_one_study(make_lab: MakeLab, database_url: str) -> None:
    lab = make_lab(database_url, pairs=10, votes=3)
    key = lab.store._facts.media.with_name(lab.store._facts.media.name.removesuffix(".media") + ".key")
    stores = [lab.store, Store(open_study(lab.url, key))]
    with ThreadPoolExecutor(6) as pool:
        done = list(pool.map(lambda n: work(stores, f"person {n}"), range(6)))
    table = vote_table(lab.url)
    assert len(table) == sum(map(len, done))
    models = ["/".join(sorted(pair)) for pair in zip(table["left"], table["right"], strict=True)]
    assert max(Counter(zip(table["pair_id"], models, strict=True)).values()) <= 3
    assert max(Counter(zip(table["annotator"], table["pair_id"], models, strict=True)).values()) == 1
    assert len(table) >= 0.9 * 90  # those who come last may find everything leased
    require_sound(lab)
    stores[1].close()
