"""Options that several commands of the command line share, and those with long texts."""

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
Recording = Annotated[
    Path | None, typer.Option(help="Folder of ingest, to look at its episodes instead.")
]
Evaluation = Annotated[Path, typer.Option(help="Folder of evaluate, to replay trials.")]
Storage = Annotated[
    str | None,
    typer.Option(envvar="SEARCH_STORAGE", help="sqlite:///… (default) or postgresql://…"),
]
Backend = Annotated[str, typer.Option(help="auto, tensorrt, tensorrt-rtx, onnxruntime or torch.")]
Token = Annotated[
    str | None, typer.Option(envvar="POLICY_TOKEN", help="Token that clients must send.")
]
TlsCert = Annotated[
    Path | None, typer.Option(help="Certificate (PEM), for wss:// instead of ws://.")
]
TlsKey = Annotated[Path | None, typer.Option(help="Its private key (PEM).")]
Task = Annotated[
    str | None, typer.Option(help="The task in words; by default to grasp the object.")
]


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


DataPath = Annotated[Path | None, option("data-path", help="Training zarr.")]
RateHz = Annotated[
    float | None, option("rate-hz", help="Control rate of a zarr that lacks it, Hz.")
]
StateArrays = Annotated[
    list[str] | None, option("state-array", "dataset.state_arrays; may be repeated")
]
