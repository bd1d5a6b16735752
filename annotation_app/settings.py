"""What the author of a study may decide; stored as JSON in the study's row."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path

from ti2v_bench.errors import TI2VError
from ti2v_bench.presentation import PresentationPolicy

REASONS = {
    "object_motion": "Object motion",
    "text_alignment": "Text alignment",
    "image_alignment": "Image alignment",
    "overall_quality": "Overall quality",
}
"""The four aspects of the published protocol, in its order."""

DOORS = ("open", "invite", "prolific", "mturk")


class StudyError(TI2VError):
    """A study cannot be made, opened or changed as asked."""


@dataclass(frozen=True)
class Question:
    """One question of the comprehension check."""

    text: str
    options: tuple[str, ...]
    answer: int
    """Index of the right option."""


CONSENT = """\
You are invited to take part in a study on computer-made videos.

You will look at pairs of short videos and say which one you prefer and why. There is no sound and no known risk. \
Taking part is voluntary: you may stop at any time by closing the page.

What is stored: your answers, when they were given, and a random-looking code in place of your name. \
Your name, address or platform account is not stored with them.
"""

INSTRUCTIONS = """\
Each task shows **one picture**, **one prompt**, and **two videos**, A and B. Both videos were made from that picture \
and that prompt.

1. **Watch** both videos to the end, once. They play together and repeat.
2. **Choose** the one that is better overall.
3. **Say why**: mark every reason that speaks for the video you chose, or *None of these*.
   - *Object motion*: the thing the prompt speaks of moves as it would, and enough.
   - *Text alignment*: what happens is what the prompt says.
   - *Image alignment*: it stays true to the picture.
   - *Overall quality*: sharp, steady, no odd shapes or flicker.
4. **Submit.** If something slipped, undo takes you back one task.

Everything works with the mouse, by touch, and with the keys shown on the buttons.
"""

QUESTIONS = (
    Question(
        "What do you choose first in each task?",
        ("The reasons", "The video that is better overall", "The picture that is sharper"),
        1,
    ),
    Question(
        "The prompt says “a dog jumping”. In A the dog jumps; in B it stands still. Which is better?",
        ("A, because it shows what the prompt says", "B, because it is calm", "Neither"),
        0,
    ),
    Question(
        "How many reasons may you mark for the video you chose?",
        ("Exactly one", "As many as apply, or none of these", "All four, always"),
        1,
    ),
)


@dataclass(frozen=True)
class Protocol:
    """What an annotator goes through, and in which measure."""

    consent: str = CONSENT
    """Markdown; HTML in it is shown as text."""
    instructions: str = INSTRUCTIONS
    training: int = 2
    """Training items with feedback, before the check; fewer where the bench gives fewer."""
    questions: tuple[Question, ...] = QUESTIONS
    """Comprehension check; none: no check."""
    attempts: int = 2
    """How often the check may be tried."""
    gold_every: int = 10
    """One item with a known answer in every so many tasks; 0: none."""
    repeat_every: int = 20
    """One repeated item, sides swapped, in every so many tasks; 0: none."""
    break_every: int = 40
    """Remind of a break after so many tasks; 0: never."""
    per_annotator: int | None = None
    """Most main items for one annotator; None: as many as the study has."""
    tie: bool = False
    both_bad: bool = False
    watch: float = 1.0
    """How much of the longest clip must have passed before an answer is taken; the published protocol's is 1."""

    def choices(self) -> tuple[str, ...]:
        """What may be answered."""
        return ("left", "right", *(["tie"] if self.tie else []), *(["both_bad"] if self.both_bad else []))


@dataclass(frozen=True)
class Crowd:
    """Codes and addresses of the platforms."""

    completed: str = ""
    """Prolific completion code."""
    screened: str = ""
    """Code for those who fail the check or do not consent."""
    full: str = ""
    """Code for those who come when nothing is left."""
    prolific_url: str = "https://app.prolific.com/submissions/complete"
    mturk_hosts: tuple[str, ...] = ("https://www.mturk.com", "https://workersandbox.mturk.com")
    """Where an assignment may be submitted to, and which may frame the page."""


@dataclass(frozen=True)
class StudySettings:
    """Everything of a study that is neither its people nor its videos."""

    protocol: Protocol = Protocol()
    presentation: PresentationPolicy = field(default_factory=PresentationPolicy)
    doors: tuple[str, ...] = ("open",)
    crowd: Crowd = Crowd()
    lease_minutes: float = 20.0
    """How long a task is kept for one annotator; a reload renews it."""
    seed: int = 0
    """Seed of the videos in the study."""
    per_pair: int | None = None
    """Comparisons per pair in the balanced design."""
    sources: Mapping[str, str] = field(default_factory=dict)
    """Where bench and videos lay when the study was made."""

    def dump(self) -> str:
        """The JSON form that `load` reads."""
        plain = asdict(replace(self, presentation=PresentationPolicy()))
        return json.dumps({**plain, "presentation": self.presentation.settings()}, sort_keys=True)

    @classmethod
    def load(cls, text: str) -> "StudySettings":
        """Read what `dump` wrote."""
        plain = json.loads(text)
        plain["protocol"] = protocol_from(plain["protocol"])
        plain["presentation"] = PresentationPolicy.from_settings(plain["presentation"])
        plain["crowd"] = Crowd(**{**plain["crowd"], "mturk_hosts": tuple(plain["crowd"]["mturk_hosts"])})
        plain["doors"] = tuple(plain["doors"])
        return cls(**plain)


def named_doors(text: str) -> tuple[str, ...]:
    """Doors from text such as `open,invite`.

    Raises:
        StudyError: one that does not exist, or none.
    """
    doors = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    unknown = [name for name in doors if name not in DOORS]
    if unknown or not doors:
        raise StudyError(f"A study has no door {(unknown or [text])[0]!r}. Known: {', '.join(DOORS)}.")
    return doors


def protocol_from(plain: Mapping[str, object]) -> Protocol:
    """A Protocol from JSON data; only the fields that differ from the default need to be there.

    Raises:
        StudyError: an unknown field, or a question that is not {text, options, answer}.
    """
    known = {entry.name for entry in fields(Protocol)}
    unknown = sorted(set(plain) - known)
    if unknown:
        raise StudyError(f"A protocol has no field {unknown[0]!r}. Known: {', '.join(sorted(known))}.")
    values = dict(plain)
    if "questions" in values:
        values["questions"] = tuple(_question(entry) for entry in values["questions"])  # type: ignore[attr-defined]
    return Protocol(**values)  # type: ignore[arg-type]


def read_protocol(path: Path) -> Protocol:
    """A Protocol from a JSON file.

    Raises:
        StudyError: no such file, no JSON object, or as in `protocol_from`.
    """
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StudyError(f"The protocol file {path} cannot be read: {error}. Give a JSON object.") from error
    if not isinstance(plain, dict):
        raise StudyError(f"The protocol file {path} holds no JSON object but {type(plain).__name__}.")
    return protocol_from(plain)


def _question(entry: Mapping[str, object]) -> Question:
    try:
        question = Question(str(entry["text"]), tuple(entry["options"]), int(entry["answer"]))  # type: ignore[call-overload,arg-type]
    except (KeyError, TypeError, ValueError) as error:
        raise StudyError(f"A question needs text, options and answer, but is {entry!r}.") from error
    if not 0 <= question.answer < len(question.options):
        raise StudyError(f"The answer of question {question.text!r} is {question.answer}, which names no option.")
    return question
