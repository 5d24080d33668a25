"""The command line: one short function per command.

The functions import their modules themselves, so that `--help` is fast.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.commands import options
from pipeline.commands.options import PARAMS, ParamsFile, flag, option
from pipeline.commands.robot import record, ros2, serve
from pipeline.errors import PipelineError

if TYPE_CHECKING:
    from pipeline.params import Params

app = typer.Typer(
    help="MoveIt2 demonstrations in, a closed-loop diffusion policy as ONNX and TensorRT out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rich doubles the time of --help
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _load(path: Path) -> Params:
    from pipeline.params import load_params

    return load_params(path)


@app.callback()
def _options(
    context: typer.Context,
    debug: Annotated[bool, flag("debug", "Show the traceback of an error.")] = False,
) -> None:
    """Define the options of every command. `main` reads --debug."""
    from pipeline.experiments.gpus import USERS, claim_gpu
    from pipeline.machine import fix_rounding

    if context.invoked_subcommand in ("collect", "ingest", "dataset"):
        fix_rounding()  # so that every machine makes the same data

    if context.invoked_subcommand in USERS:
        claim_gpu()


@app.command()
def collect(
    params: ParamsFile = PARAMS,
    out: Annotated[Path, typer.Option(help="Folder to write.")] = Path("artifacts/collect"),
) -> None:
    """Plan demonstrations, execute them in simulation, record them as a rosbag2."""
    from pipeline.stages import collect as stage

    stage.run(_load(params), out)


@app.command()
def ingest(
    params: ParamsFile = PARAMS,
    out: Annotated[Path, typer.Option(help="Folder to write.")] = Path("artifacts/ingest"),
    source: Annotated[
        list[Path] | None,
        typer.Option(help="Recordings, instead of ingest.source; may be repeated."),
    ] = None,
) -> None:
    """Read recordings into episodes; report what was accepted or rejected, and why."""
    from pipeline.stages import ingest as stage

    stage.run(_load(params), out, source)


@app.command()
def dataset(
    params: ParamsFile = PARAMS,
    out: Annotated[Path, typer.Option(help="Folder to write.")] = Path("artifacts/dataset"),
    source: Annotated[Path | None, typer.Option(help="episodes.zarr that ingest wrote.")] = None,
) -> None:
    """Resample episodes, label actions, split; write the training zarr."""
    from pipeline.stages import dataset as stage

    stage.run(_load(params), out, source)


@app.command()
def train(
    params: ParamsFile = PARAMS,
    out: Annotated[
        Path, typer.Option("--out", "--output-dir", "--output_dir", help="Folder to write.")
    ] = Path("artifacts/train"),
    data_path: options.DataPath = None,
    num_epochs: Annotated[int | None, option("num-epochs", "train.num_epochs")] = None,
    batch_size: Annotated[int | None, option("batch-size", "train.batch_size")] = None,
    lr: Annotated[float | None, option("lr", "train.lr")] = None,
    horizon: Annotated[int | None, option("horizon", "policy.horizon")] = None,
    n_obs_steps: Annotated[int | None, option("n-obs-steps", "policy.n_obs_steps")] = None,
    save_freq: Annotated[int | None, option("save-freq", "train.save_freq")] = None,
    init_from: Annotated[Path | None, option("init-from", "train.init_from")] = None,
    rate_hz: options.RateHz = None,
    layout: Annotated[str | None, option("layout", "dataset.layout: robot or generic")] = None,
    state_array: options.StateArrays = None,
) -> None:
    """Train the diffusion policy."""
    from pipeline.stages import train as stage

    chosen = _load(params).override(
        "train", num_epochs=num_epochs, batch_size=batch_size, lr=lr, save_freq=save_freq,
        init_from=init_from,
    )  # fmt: skip
    chosen = chosen.override("policy", horizon=horizon, n_obs_steps=n_obs_steps)
    chosen = chosen.override("dataset", layout=layout, state_arrays=state_array)
    stage.run(chosen, out, data_path, rate_hz)


@app.command()
def evaluate(
    params: ParamsFile = PARAMS,
    out: Annotated[Path, typer.Option(help="Folder to write.")] = Path("artifacts/evaluate"),
    model: Annotated[Path | None, typer.Option(help="Checkpoint.")] = None,
    data: Annotated[Path | None, typer.Option(help="Training zarr with the test split.")] = None,
) -> None:
    """Evaluate the policy: open loop on test episodes, closed loop in simulation."""
    from pipeline.stages import evaluate as stage

    stage.run(_load(params), out, model, data)


@app.command()
def export(
    params: ParamsFile = PARAMS,
    out: Annotated[Path, typer.Option(help="Folder to write.")] = Path("artifacts/export"),
    model: Annotated[Path | None, typer.Option(help="Checkpoint.")] = None,
) -> None:
    """Write policy.onnx, check it against torch, build TensorRT engines."""
    from pipeline.stages import export as stage

    stage.run(_load(params), out, model)


for _command in (serve, ros2, record):
    app.command()(_command)


@app.command()
def play(
    params: ParamsFile = PARAMS,
    model: options.Model = "artifacts/export",
    recording: options.Recording = None,
    evaluation: options.Evaluation = Path("artifacts/evaluate"),
    trial: Annotated[int | None, typer.Option(min=0, help="Trial to begin with.")] = None,
    host: options.Host = "127.0.0.1",
    port: options.Port = 8080,
) -> None:
    """Show a page on which you drag the object and the policy follows."""
    from pipeline.stages import play as stage

    stage.run(_load(params), model, recording, evaluation, trial, host, port)


@app.command()
def bench(
    what: Annotated[str, typer.Argument(help="inference, or serve (under load).")] = "inference",
    params: ParamsFile = PARAMS,
    out: Annotated[Path, typer.Option(help="Folder to write.")] = Path("bench/results"),
    calls: Annotated[int, typer.Option(min=1, help="Number of timed calls.")] = 1000,
    model: Annotated[
        Path | None, typer.Option(help="Folder of export, for serve; else an untrained policy.")
    ] = None,
) -> None:
    """Measure the inference time of each backend, or of the server under load."""
    from pipeline.stages import bench as stage

    stage.run(_load(params), what, out, calls, model)


@app.command()
def sweep(
    settings: options.Settings = None,
    queue: Annotated[bool, flag("queue", "Run in DVC's queue, -j runs at a time.")] = False,
    slurm: Annotated[bool, flag("slurm", "Run as jobs of a Slurm cluster.")] = False,
    slurm_local: Annotated[bool, flag("slurm-local", "Run such jobs on this machine.")] = False,
    show: Annotated[bool, flag("show", "Compare existing runs, run nothing.")] = False,
    dry: Annotated[bool, flag("dry", "List the runs, run nothing.")] = False,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Runs at a time.")] = 1,
    gpus: Annotated[str | None, typer.Option(help="GPUs for the queue, such as 0,1.")] = None,
    sort: Annotated[str, typer.Option(help="Metric to sort by.")] = "closed_loop.success_strict",
    minimize: options.Minimize = False,
    partition: Annotated[str | None, typer.Option(help="Slurm: partition.")] = None,
    job_gpus: Annotated[int, typer.Option(min=0, help="Slurm: GPUs of a job.")] = 0,
    job_cpus: Annotated[int, typer.Option(min=1, help="Slurm: CPU cores of a job.")] = 4,
    job_memory_gb: Annotated[float, typer.Option(help="Slurm: memory of a job, GB.")] = 16.0,
    job_hours: Annotated[float, typer.Option(help="Slurm: time limit of a job, hours.")] = 4.0,
    out: Annotated[Path, typer.Option(help="Folder to write.")] = Path("artifacts/sweep"),
) -> None:
    """Run the chain with every combination of some parameters; compare the runs."""
    from pipeline.experiments.slurm import ClusterOptions
    from pipeline.stages import sweep as stage

    flags: dict[stage.Mode, bool] = {
        "queue": queue, "cluster": slurm or slurm_local, "show": show, "dry": dry,
    }  # fmt: skip
    mode = stage.choose_mode([name for name, flag in flags.items() if flag])
    cluster = ClusterOptions(
        "local" if slurm_local else "slurm", partition, job_gpus, job_cpus, job_memory_gb, job_hours
    )
    stage.run(settings or [], out, sort, minimize, mode, jobs, gpus, cluster)


@app.command()
def search(
    settings: options.Settings = None,
    trials: Annotated[int, typer.Option("--trials", "-n", min=1, help="Trials in total.")] = 20,
    metric: Annotated[str, typer.Option(help="Metric to optimise.")] = "closed_loop.success_strict",
    minimize: options.Minimize = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the proposals.")] = 0,
    storage: options.Storage = None,
    study: Annotated[str | None, typer.Option(help="Name in a shared storage.")] = None,
    out: Annotated[Path, typer.Option(help="Folder to write.")] = Path("artifacts/search"),
) -> None:
    """Run the chain with parameters that Optuna proposes; compare the runs."""
    from pipeline.experiments.search import SearchOptions
    from pipeline.stages import search as stage

    stage.run(settings or [], out, SearchOptions(metric, minimize, trials, seed, storage, study))


@app.command()
def convert(
    out: Annotated[Path, typer.Argument(help="Folder to make.")],
    to: Annotated[str, typer.Option(help="Format: lerobot (LeRobot v3).")],
    params: ParamsFile = PARAMS,
    data_path: options.DataPath = None,
    rate_hz: options.RateHz = None,
    task: options.Task = None,
) -> None:
    """Write the training data as a LeRobot data set."""
    from pipeline.stages import convert as stage

    stage.run(_load(params), out, to, data_path, rate_hz, task)


@app.command()
def info(
    path: Annotated[Path, typer.Argument(help="Training zarr, checkpoint or recording.")],
    params: ParamsFile = PARAMS,
) -> None:
    """Show the contents of a data set, a checkpoint or a recording."""
    from pipeline.stages import info as stage

    stage.run(path, _load(params))


@app.command()
def doctor(params: ParamsFile = PARAMS) -> None:
    """Check GPU, libraries, Docker, data, remote, disk and ports; say how to fix problems."""
    from pipeline.stages import doctor as stage

    stage.run(_load(params))


@app.command()
def release(
    version: Annotated[str, typer.Argument(help="Semantic version, for instance v1.0.0.")],
    params: ParamsFile = PARAMS,
    push: Annotated[bool, flag("push", "Push data, branch and tags.")] = False,
) -> None:
    """Release the committed results: check them, write the model card, tag the version."""
    from pipeline.stages import release as stage

    stage.run(_load(params), version, push)


def main() -> None:
    """Run the command line. An expected error prints one red line and exits with status 1."""
    try:
        app()
    except PipelineError as error:
        if "--debug" in sys.argv:
            raise
        from rich.console import Console
        from rich.text import Text

        Console(stderr=True, soft_wrap=True).print(Text(f"error: {error}", style="bold red"))
        sys.exit(1)
