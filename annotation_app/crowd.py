"""What the platforms need: where an annotator goes at the end, and the settings that a study's author pastes."""

import json
import secrets
from dataclasses import dataclass, replace
from urllib.parse import urlencode, urlsplit
from xml.sax.saxutils import escape

from annotation_app.settings import Crowd, StudyError

NO_ASSIGNMENT = "ASSIGNMENT_ID_NOT_AVAILABLE"
"""What MTurk sends as assignment while a worker only looks."""

_ALPHABET = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
_XMLNS = "http://mechanicalturk.amazonaws.com/AWSMechanicalTurkDataSchemas/2006-07-14/ExternalQuestion.xsd"


@dataclass(frozen=True)
class MTurkVisit:
    """What MTurk appends to the page's address."""

    assignment: str
    worker: str
    submit_to: str

    @property
    def preview(self) -> bool:
        """The worker has not accepted the task: nothing may be recorded."""
        return self.assignment in ("", NO_ASSIGNMENT) or not self.worker


def with_codes(crowd: Crowd) -> Crowd:
    """Draw the completion codes that are not set yet."""
    return replace(
        crowd,
        completed=crowd.completed or _code(),
        screened=crowd.screened or _code(),
        full=crowd.full or _code(),
    )


def prolific_return(crowd: Crowd, outcome: str) -> str | None:
    """Address to which a Prolific participant returns; `outcome` is completed, screened or full."""
    code = {"completed": crowd.completed, "screened": crowd.screened, "full": crowd.full}[outcome]
    return f"{crowd.prolific_url}?{urlencode({'cc': code})}" if code else None


def mturk_submission(
    crowd: Crowd, visit: dict[str, str], outcome: str, answered: int, code: str | None
) -> dict[str, object] | None:
    """Form that submits an MTurk assignment; None where the address is not MTurk's."""
    target = visit.get("submit_to", "")
    if not allowed_target(crowd, target) or not visit.get("assignment"):
        return None
    fields = {
        "assignmentId": visit["assignment"],
        "outcome": outcome,
        "answered": str(answered),
        "code": code or "none",
    }
    return {"url": f"{target.rstrip('/')}/mturk/externalSubmit", "fields": fields}


def allowed_target(crowd: Crowd, target: str) -> bool:
    """Whether an assignment may be submitted to `target`: it comes from the page's address, so it may be forged."""
    try:
        parts = urlsplit(target)
    except ValueError:
        return False
    return f"{parts.scheme}://{parts.netloc}" in crowd.mturk_hosts


def prolific_settings(crowd: Crowd, public_url: str, minutes: float, places: int) -> str:
    """The fields of a Prolific study, as JSON: its page's or its API's names."""
    identifiers = "PROLIFIC_PID={{%PROLIFIC_PID%}}&STUDY_ID={{%STUDY_ID%}}&SESSION_ID={{%SESSION_ID%}}"
    plain = {
        "external_study_url": f"{web_address(public_url, '--public-url')}/prolific?{identifiers}",
        "prolific_id_option": "url_parameters",
        "completion_codes": [
            {"code": crowd.completed, "code_type": "COMPLETED", "actions": [{"action": "AUTOMATICALLY_APPROVE"}]},
            {"code": crowd.screened, "code_type": "SCREENED_OUT", "actions": [{"action": "MANUALLY_REVIEW"}]},
            {"code": crowd.full, "code_type": "STUDY_FULL", "actions": [{"action": "MANUALLY_REVIEW"}]},
        ],
        "total_available_places": places,
        "estimated_completion_time": max(1, round(minutes)),
        "device_compatibility": ["desktop", "tablet", "mobile"],
        "peripheral_requirements": [],
    }
    return json.dumps(plain, indent=2) + "\n"


def mturk_question(public_url: str, height: int = 0) -> str:
    """The ExternalQuestion of a HIT; height 0 lets the frame fill the window."""
    address = web_address(public_url, "--public-url")
    if not address.startswith("https://"):
        raise StudyError(
            f"MTurk shows only https pages, but --public-url is {public_url!r}. Put a TLS proxy before it."
        )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<ExternalQuestion xmlns="{_XMLNS}">\n'
        f"  <ExternalURL>{escape(address)}/mturk</ExternalURL>\n"
        f"  <FrameHeight>{height}</FrameHeight>\n"
        "</ExternalQuestion>\n"
    )


def web_address(text: str, option: str) -> str:
    """An http or https address without query and closing slash; `option` names where it was given.

    Raises:
        StudyError: it is none.
    """
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise StudyError(f"{option} must be an http or https address, but is {text!r}.")
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def _code() -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(8))
