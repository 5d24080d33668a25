"""Options that several commands of the command line share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

ParamsFile = Annotated[Path, typer.Option("--params", help="File with every parameter.")]
PARAMS = Path("params.yaml")
Settings = Annotated[
    list[str] | None, typer.Option("-S", "--set-param", help="KEY=VALUES; may be repeated.")
]
Minimize = Annotated[
    bool, typer.Option("--minimize", "--least", help="Smaller values of the metric are better.")
]
Model = Annotated[str, typer.Option(help="Folder of export, policy.onnx, or REPOSITORY@VERSION.")]
Host = Annotated[str, typer.Option(help="Address to listen on.")]
Port = Annotated[int, typer.Option(help="Port; 0 chooses a free one.")]


def option(name: str, key: str = "", help: str = "") -> Any:
    """Define an option that accepts - and _ in its name, by default for a key of params.yaml.

    Args:
        name: the name with -, without leading --.
        key: the key that the option replaces.
        help: text of the help instead.
    """
    names = dict.fromkeys((f"--{name}", f"--{name.replace('-', '_')}"))
    return typer.Option(*names, help=help or f"Instead of {key}.")


def flag(name: str, help: str) -> Any:
    """Define a flag without its --no- variant.

    Args:
        name: the name without leading --.
        help: text of the help.
    """
    return typer.Option(f"--{name}", help=help)
