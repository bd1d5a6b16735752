"""Triton's interpreter, which stands in for a GPU: chosen before Triton is imported, so in a process of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

Interpreted = Callable[[str], Mapping[str, Any]]


@pytest.fixture(scope="session")
def interpreted() -> Interpreted:
    """What a script beside this file prints, when kernels are interpreted."""

    def ran(script: str) -> Mapping[str, Any]:
        if find_spec("triton") is None:
            pytest.skip("Triton has no wheel for this machine")
        environment = {**os.environ, "TRITON_INTERPRET": "1"}
        command = [sys.executable, Path(__file__).with_name(script)]
        end = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100)
        assert end.returncode == 0, end.stderr
        result: Mapping[str, Any] = json.loads(end.stdout.splitlines()[-1])
        return result

    return ran
