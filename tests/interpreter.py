"""Triton's interpreter, which stands in for a GPU: chosen before Triton is imported, so in a process of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest


def interpreted(script: Path, *arguments: str) -> Mapping[str, Any]:
    """What a script prints, JSON in its last line, when kernels are interpreted."""
    if find_spec("triton") is None:
        pytest.skip("Triton has no wheel for this machine")
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    command = [sys.executable, script, *arguments]
    end = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=110)
    assert end.returncode == 0, end.stderr
    result: Mapping[str, Any] = json.loads(end.stdout.splitlines()[-1])
    return result
