"""Opens a study to a crowd platform and writes what is to be pasted there."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from sqlalchemy import update

from annotation_app.crowd import mturk_question, prolific_settings, web_address, with_codes
from annotation_app.events import Event, record
from annotation_app.schema import StudyRow
from annotation_app.sequence import goal_for
from annotation_app.study import Study, open_study

_MINUTES_PER_TASK = 0.4
_MINUTES_BEFORE = 3.0


def open_to_crowd(
    database: str | Path, platform: str, public_url: str, codes: Mapping[str, str | None], hosts: tuple[str, ...] = ()
) -> str:
    """Add the platform's door and its codes to the study; return the Prolific settings or the HIT's XML.

    Args:
        codes: completed, screened, full; those that are None and not set yet are drawn.
        hosts: where a stand-in for the platform runs, in place of the platform's own hosts.

    Raises:
        StudyError: there is no study, or the address cannot be used.
    """
    opened = open_study(database)
    try:
        study = opened.facts()
        known = study.settings.crowd
        crowd = with_codes(
            replace(
                known,
                completed=codes.get("completed") or known.completed,
                screened=codes.get("screened") or known.screened,
                full=codes.get("full") or known.full,
            )
        )
        bases = tuple(web_address(host, "--host") for host in hosts)
        if bases and platform == "mturk":
            crowd = replace(crowd, mturk_hosts=bases)
        if bases and platform == "prolific":
            crowd = replace(crowd, prolific_url=f"{bases[0]}/submissions/complete")
        text = (
            mturk_question(public_url)
            if platform == "mturk"
            else prolific_settings(crowd, public_url, _minutes(study), _places(study))
        )
        doors = tuple(dict.fromkeys((*study.settings.doors, platform)))
        settings = replace(study.settings, crowd=crowd, doors=doors)
        with opened.database.write() as connection:
            connection.execute(update(StudyRow).values(settings=settings.dump()))
            record(connection, [Event("study.opened", detail={"platform": platform})])
    finally:
        opened.database.dispose()
    return text


def _tasks(study: Study) -> int:
    mains = study.protocol.per_annotator or 40
    return goal_for(mains, "", study.protocol, study.gold_items)


def _minutes(study: Study) -> float:
    return _MINUTES_BEFORE + _MINUTES_PER_TASK * _tasks(study)


def _places(study: Study) -> int:
    return max(study.votes, 1)
