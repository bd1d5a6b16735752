"""Names of timestep spacings; apart from the schedules so that settings need no torch."""

from typing import Literal

Spacing = Literal["uniform", "uniform_trailing"]
"""How sampling steps are spread over the training steps."""
