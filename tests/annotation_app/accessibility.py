"""axe-core in the page under test: nothing serious may be found."""

import os
from pathlib import Path

import pytest

AXE_ABSENT = "axe-core is absent: set TI2V_BENCH_AXE to a folder with axe.min.js (npm pack axe-core, unpacked)"


def axe_source() -> str | None:
    """axe-core's script; None where it is absent, which fails where everything is required."""
    folder = os.environ.get("TI2V_BENCH_AXE")
    found = sorted(Path(folder).rglob("axe.min.js")) if folder else []
    if not found and os.environ.get("TI2V_BENCH_REQUIRE_ALL"):
        pytest.fail(AXE_ABSENT)
    return found[0].read_text() if found else None


def require_accessible(page, source: str | None) -> None:  # type: ignore[no-untyped-def]
    """No serious or critical finding on the page as it is; the caller skips where there is no axe."""
    if source is None:
        return
    page.evaluate(source)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    bad = [(entry["id"], entry["nodes"][0]["target"]) for entry in found if entry["impact"] in ("serious", "critical")]
    assert bad == []
