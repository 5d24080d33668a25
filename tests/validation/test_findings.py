"""Every code in use has a hint, and every hint is used."""

import re
from pathlib import Path

import pipeline.validation
from pipeline.validation.findings import HINTS

# Names of ROS that look like codes.
NAMES = {"DISPLAY_TRAJECTORY", "PRAGMA"}


def test_codes_in_use_and_hints_are_the_same():
    folder = Path(pipeline.validation.__file__).parent
    text = "\n".join(
        path.read_text()
        for path in [
            *folder.glob("*.py"),
            *(folder.parent / "recordings").rglob("*.py"),
            folder.parent / "stages" / "ingest.py",
        ]
        if path.name != "findings.py"
    )
    used = set(re.findall(r"\"([A-Z][A-Z_]{3,})\"", text)) - NAMES
    assert used == set(HINTS)
