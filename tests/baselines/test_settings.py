"""Settings from the command line."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

import pytest

from baselines.settings import SettingsError, with_changes


@dataclass(frozen=True)
class Sample:
    steps: int = 50
    guidance: float = 7.5
    trailing: bool = True
    spacing: Literal["uniform", "trailing"] = "uniform"
    size: tuple[int, int] = (320, 512)
    levels: tuple[float, ...] = ()
    limit: int | None = None
    fps: Fraction | int = 8
    statistics: Path | None = None

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps is {self.steps}, at least 1 is needed")


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("steps", " 25 ", 25),
        ("guidance", "1e1", 10.0),
        ("trailing", "No", False),
        ("spacing", "trailing", "trailing"),
        ("size", "(256, 256)", (256, 256)),
        ("levels", "0.5,1", (0.5, 1.0)),
        ("limit", "None", None),
        ("limit", "3", 3),
        ("fps", "7/2", Fraction(7, 2)),
        ("statistics", "a/b.pt", Path("a/b.pt")),
    ],
)
def test_text_becomes_the_fields_type(name: str, text: str, value: object) -> None:
    changed = getattr(with_changes(Sample(), {name: text}), name)
    assert changed == value
    assert type(changed) is type(value)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("steps", "2.5"),
        ("guidance", "nan"),
        ("guidance", "inf"),
        ("trailing", "maybe"),
        ("spacing", "cosine"),
        ("size", "1,2,3"),
        ("fps", "1/0"),
    ],
)
def test_text_of_another_type_is_refused_by_name_and_value(name: str, text: str) -> None:
    with pytest.raises(SettingsError, match=f"{name}='{text}'"):
        with_changes(Sample(), {name: text})


def test_unknown_setting_names_the_nearest() -> None:
    with pytest.raises(SettingsError, match=r"no setting 'step'\. Did you mean 'steps'"):
        with_changes(Sample(), {"step": "1"})


def test_the_settings_own_check_is_a_user_error() -> None:
    with pytest.raises(SettingsError, match="steps is 0"):
        with_changes(Sample(), {"steps": "0"})
