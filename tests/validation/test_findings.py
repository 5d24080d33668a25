"""Every code that the rooms use has a hint, and a finding has a JSON form."""

import json
import re
from pathlib import Path

import pipeline.validation
from pipeline.validation.findings import HINTS, Finding

# Names of ROS that look like codes.
NAMES = {"DISPLAY_TRAJECTORY", "PRAGMA"}


def test_every_code_in_use_has_a_hint_and_every_hint_a_use():
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


def test_a_finding_says_what_to_do():
    entry = Finding("NO_MOTION", "one", 3, 0, "0.001 rad", "0.01 rad").to_dict()
    assert list(entry) == ["code", "source", "message", "segment", "value", "limit", "hint"]
    assert entry["hint"] == HINTS["NO_MOTION"]
    assert json.loads(json.dumps(entry)) == entry
