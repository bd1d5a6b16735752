"""Which kind of task an annotator gets at which place, drawn from their pseudonym so that it needs no memory."""

import random

from annotation_app.settings import Protocol

SPACING = 5
"""Tasks that lie at least between a main item and its repeat."""


def kind_at(position: int, pseudonym: str, protocol: Protocol, gold_items: int) -> str:
    """`main`, `gold` or `repeat` for the task at `position` (from 1) of the main stage.

    In every block of `gold_every` tasks one random place is gold while gold items last, in every block of
    `repeat_every` one is a repeat.
    """
    if _is_chosen(position, pseudonym, "gold", protocol.gold_every, gold_items):
        return "gold"
    if position > SPACING + 1 and _is_chosen(position, pseudonym, "repeat", protocol.repeat_every, None):
        return "repeat"
    return "main"


def goal_for(mains: int, pseudonym: str, protocol: Protocol, gold_items: int) -> int:
    """Number of tasks that hold `mains` main items and the gold and repeated ones between them."""
    position = found = 0
    while found < mains:
        position += 1
        found += kind_at(position, pseudonym, protocol, gold_items) == "main"
    return position


def _is_chosen(position: int, pseudonym: str, what: str, every: int, items: int | None) -> bool:
    if every <= 0:
        return False
    block, place = divmod(position - 1, every)
    if items is not None and block >= items:
        return False
    return random.Random(f"{pseudonym}/{what}/{block}").randrange(every) == place
