"""The tables that `evaluate` prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from pipeline.evaluation.robustness import Outcome
from pipeline.run import console


def print_closed_loop(summaries: Mapping[str, Mapping[str, Any]], open_loop: Any) -> None:
    """Print the headline, strict success without contact, and the table of all measures.

    Args:
        summaries: summaries of policy, expert and stand_still.
        open_loop: summary of the open loop.
    """
    policy = summaries["policy"]
    console.print(
        f"Strict and free of contact: {policy['success_collision_free']:.1%} of {policy['n']}, "
        f"95 % interval {_interval(policy['ci95_collision_free'])} %"
    )
    headings = (
        "", "strict, free", "interval", "strict", "free", "5 mm", "team", "median mm", "95th mm",
    )  # fmt: skip
    table = _table(f"Closed loop, n = {policy['n']}, %", headings)
    for name, row in summaries.items():
        table.add_row(
            name.replace("_", " "),
            f"{row['success_collision_free'] * 100:.1f}",
            _interval(row["ci95_collision_free"]),
            f"{row['success_strict'] * 100:.1f}",
            f"{row['contact_free'] * 100:.1f}",
            f"{row['success_5mm'] * 100:.1f}",
            f"{row['success_team'] * 100:.1f}",
            f"{row['error_mm_median']:.1f}",
            f"{row['error_mm_p95']:.1f}",
        )
    console.print(table)
    console.print(
        f"Open loop, {open_loop['windows']} windows of {open_loop['episodes']} test episodes: "
        f"joints {open_loop['joint_rmse_deg']:.2f}°, gripper {open_loop['ee_rmse_mm']:.1f} mm and "
        f"{open_loop['ee_rmse_deg']:.2f}° (root mean squares)"
    )


def print_backends(backends: Mapping[str, Mapping[str, Any]]) -> None:
    """Print the results of the same rollouts on each backend.

    Args:
        backends: the entry `backends` of metrics.json.
    """
    headings = ("", "strict, free", "interval", "strict", "team", "median mm", "apart at most")
    table = _table("The same rollouts with each backend, %", headings)
    for name, row in backends.items():
        if row["status"] != "driven":
            console.print(f"{name} was not run: {row['reason']}")
            continue
        table.add_row(
            name,
            f"{row['success_collision_free'] * 100:.1f}",
            _interval(row["ci95_collision_free"]),
            f"{row['success_strict'] * 100:.1f}",
            f"{row['success_team'] * 100:.1f}",
            f"{row['error_mm_median']:.1f}",
            f"{row['max_joint_difference_rad']:.1e} rad",
        )
    console.print(table)


def print_robustness(outcomes: list[Outcome]) -> None:
    """Print one row for each condition of the robustness suite.

    Args:
        outcomes: outcomes of the suite; empty if it was skipped.
    """
    if not outcomes:
        return
    headings = ("", "by", "strict, free", "interval", "strict", "5 mm")
    table = _table(f"Robustness, n = {outcomes[0].summary['n']}, %", headings)
    for outcome in outcomes:
        row = outcome.summary
        table.add_row(
            outcome.condition.label,
            f"{outcome.condition.severity:g}",
            f"{row['success_collision_free'] * 100:.1f}",
            _interval(row["ci95_collision_free"]),
            f"{row['success_strict'] * 100:.1f}",
            f"{row['success_5mm'] * 100:.1f}",
        )
    console.print(table)


def print_grasp(grasp: Mapping[str, Any] | None) -> None:
    """Print how many objects were grasped and lifted.

    Args:
        grasp: the entry `grasp` of metrics.json; None if there was none.
    """
    if grasp is None:
        return
    console.print(
        f"Grasped and lifted: {grasp['success']:.0%} of {grasp['n']} "
        f"(expert {grasp['expert']['success']:.0%})"
    )


def print_fallback(fallback: Mapping[str, Any]) -> None:
    """Print what the policy and the planner reach together.

    Args:
        fallback: the entry `fallback` of metrics.json; empty if there was none.
    """
    if not fallback:
        return
    console.print(
        f"With the planner as fallback (took over {fallback['n_taken_over']}, no plan for "
        f"{fallback['n_without_plan']}): strict and free of contact "
        f"{fallback['success_collision_free']:.1%} of {fallback['n']}, 95 % interval "
        f"{_interval(fallback['ci95_collision_free'])} %; strict {fallback['success_strict']:.1%}"
    )


def _table(title: str, headings: tuple[str, ...]) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=0)
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "" else "right", no_wrap=True)
    return table


def _interval(ends: list[float]) -> str:
    return f"{ends[0] * 100:.1f}–{ends[1] * 100:.1f}"
