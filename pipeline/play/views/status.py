"""Formats a view's numbers as HTML."""

from __future__ import annotations

from collections.abc import Sequence

Row = tuple[str, str]
"""A name and its value, as HTML."""


def lamp(lit: bool, text: str) -> str:
    """Format a lamp with a text.

    Args:
        lit: whether it is green instead of grey.
        text: what the lamp says.
    """
    colour = "#2f9e44" if lit else "#adb5bd"
    glow = "box-shadow:0 0 8px #2f9e44;" if lit else ""
    dot = (
        f'<span style="display:inline-block;width:14px;height:14px;border-radius:7px;{glow}'
        f'background:{colour};margin-right:8px;vertical-align:-2px"></span>'
    )
    return f'<div style="margin:6px 12px;font-weight:600;font-size:15px">{dot}{text}</div>'


def table(rows: Sequence[Row]) -> str:
    """Format names and values as a table.

    Args:
        rows: the rows.
    """
    cells = "".join(
        '<tr><td style="padding:1px 10px 1px 0;opacity:.65;vertical-align:top;white-space:nowrap">'
        f"{name}</td>"
        f'<td style="font-variant-numeric:tabular-nums">{value}</td></tr>'
        for name, value in rows
    )
    return f'<table style="margin:2px 12px 8px;font-size:13px;line-height:1.35">{cells}</table>'
