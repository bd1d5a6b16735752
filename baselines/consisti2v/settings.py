"""What ConsistI2V is run with."""

from typing import Literal

Filter = Literal["gaussian", "butterworth", "ideal", "box"]
NoiseKind = Literal["pyoco_mixed", "pyoco_progressive", "vanilla"]
