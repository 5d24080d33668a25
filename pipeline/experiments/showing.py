"""Experiments compared for people: a table here, a picture and a CSV file in a folder."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from pipeline.experiments.comparison import compare
from pipeline.experiments.dvc import PREFIX, Repository
from pipeline.run import console, output_folder


def show(repository: Repository, names: set[str], out: Path, sort: str, least: bool) -> None:
    """Compare experiments.

    Args:
        repository: that they are in.
        names: of the experiments; all on this commit and the commit itself where empty.
        out: folder for comparison.png and comparison.csv.
        sort: metric that they are compared by.
        least: the least of it is best.

    Raises:
        ComparisonError: there is nothing to compare, or not by that.
        OutputError: `out` is not this command's.
    """
    from pipeline.experiments.parallel_coordinates import draw

    found = repository.experiments()
    chosen = [item for item in found if (item.name in names if names else item.metrics)]
    comparison = compare(chosen, sort, least)
    with output_folder(out) as folder:
        comparison.write_csv(folder / "comparison.csv")
        draw(comparison, folder / "comparison.png")
    table = comparison.table()
    # Wider than a narrow terminal rather than with its numbers cut off.
    wide = console.measure(table, options=console.options.update(max_width=1000)).maximum
    Console(width=max(wide, console.width), file=console.file, highlight=False).print(table)
    console.print(
        f"{out}/comparison.png and .csv. `dvc exp apply NAME` brings a run into the workspace, "
        f"`dvc exp remove NAME` removes it (NAME: {PREFIX}…)"
    )
