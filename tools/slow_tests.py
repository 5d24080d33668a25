"""Pytest plugin of `make test-slow`: a table of what ran, how long it took and when it last ran.

The figures are kept in .state/slow.json, so that a run of a few tests leaves those of the others.
"""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

KEPT = Path(".state/slow.json")


class SlowTests:
    """Durations and results of this run, added to those of earlier ones."""

    def __init__(self, path: Path) -> None:
        """Read what earlier runs kept.

        Args:
            path: the file.
        """
        self.path = path
        self.kept: dict[str, dict[str, Any]] = json.loads(path.read_text()) if path.exists() else {}
        self.ran: dict[str, dict[str, Any]] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        """List all slow tests, before pytest leaves out those that were not asked for.

        Args:
            config: says whether the whole suite was collected.
            items: all collected tests.
        """
        names = [item.nodeid for item in items if item.get_closest_marker("slow")]
        known = self.kept if config.args != config.getini("testpaths") else {}
        self.kept = {name: self.kept.get(name, {}) for name in sorted({*known, *names})}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add the duration of a test's setup, call or teardown, s.

        Args:
            report: of one of the three.
        """
        found = self.ran.setdefault(report.nodeid, {"seconds": 0.0, "result": "passed"})
        found["seconds"] = round(found["seconds"] + report.duration, 1)
        found["last"] = datetime.now().isoformat(" ", "minutes")
        if report.outcome != "passed":
            found["result"] = report.outcome

    def pytest_terminal_summary(self) -> None:
        """Keep the figures and print the table."""
        self.kept |= self.ran
        self.path.parent.mkdir(parents=True, exist_ok=True)
        beside = self.path.with_suffix(".partial")
        beside.write_text(json.dumps(self.kept, indent=1))
        beside.replace(self.path)
        table = Table("slow test", "s", "result", "last ran", box=SIMPLE_HEAD)
        for name, found in sorted(self.kept.items(), key=lambda item: -item[1].get("seconds", 0)):
            seconds = f"{found['seconds']:.1f}" if found else "–"
            style = "" if name in self.ran else "dim"
            result = found.get("result", "never ran")
            table.add_row(escape(name), seconds, result, found.get("last", "–"), style=style)
        console = Console()
        width = console.measure(table, options=console.options.update(max_width=1000)).maximum
        Console(width=max(width, console.width), highlight=False).print(table)
        minutes = [sum(row.get("seconds", 0) for row in rows.values()) / 60
                   for rows in (self.ran, self.kept)]  # fmt: skip
        print(f"{minutes[0]:.1f} minutes in this run, {minutes[1]:.1f} for all of them")


def pytest_configure(config: pytest.Config) -> None:
    """Add the table to a run of pytest.

    Args:
        config: of the run.
    """
    config.pluginmanager.register(SlowTests(config.rootpath / KEPT))
