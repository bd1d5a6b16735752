"""How a pair and its scenario are named; checked on the published file names of the benchmark's own clips."""

import re
import unicodedata


def slug(prompt: str) -> str:
    """The part of a pair's id that comes from its prompt: lower case, punctuation dropped, spaces to `_`.

    Letters and digits of every script are kept. A prompt without any gives the empty text.

    >>> slug("A cartoon-style person  turning right.")
    'a_cartoonstyle_person_turning_right'
    """
    kept = re.sub(r"[^\w\s]", "", unicodedata.normalize("NFC", prompt).lower())
    return "_".join(kept.split())


def scenario_of(stem: str) -> str:
    """The scenario of an image: its stem without trailing digits; all of `meadow_*` are one scenario.

    A separator left at the end goes too (`cat_01` is `cat`); a stem of digits only is its own scenario.

    >>> scenario_of("aerial_car2"), scenario_of("meadow_pig")
    ('aerial_car', 'meadow')
    """
    if stem.startswith("meadow_"):
        return "meadow"
    return re.sub(r"[\s_.-]*\d+$", "", stem) or stem


def pair_id(stem: str, prompt: str) -> str:
    """`<image stem>_<slug of prompt>`."""
    return f"{stem}_{slug(prompt)}"
