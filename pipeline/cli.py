"""The command line: one thin command a stage, heavy imports inside it.

Knows the stages' names and options; the work is theirs.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from pipeline.errors import PipelineError

app = typer.Typer(
    help="MoveIt2 demonstrations in, a closed-loop diffusion policy as ONNX and TensorRT out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rich doubles the time to the first help page
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)

ParamsFile = Annotated[Path, typer.Option("--params", help="File with every parameter.")]
PARAMS = Path("params.yaml")
Settings = Annotated[
    list[str] | None, typer.Option("-S", "--set-param", help="KEY=VALUES; may be repeated.")
]


@app.callback()
def _options(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Options of every command; `main` reads --debug itself."""
    from pipeline.experiments.gpus import USERS, claim_gpu

    if context.invoked_subcommand in USERS:
        claim_gpu()


@app.command()
def collect(
    params: ParamsFile = PARAMS,
    out: Annotated[Path, typer.Option(help="Folder to write.")] = Path("artifacts/collect"),
) -> None:
    """Plan demonstrations, execute them in simulation, record them as a rosbag2."""
    from pipeline.params import load_params
    from pipeline.stages import collect as stage

    stage.run(load_params(params), out)


@app.command()
def ingest(
    params: ParamsFile = PARAMS,
    out: Annotated[Path, typer.Option(help="Folder to write.")] = Path("artifacts/ingest"),
    source: Annotated[
        list[Path] | None, typer.Option(help="Recordings, for ingest.source; may be repeated.")
    ] = None,
) -> None:
    """Read recordings into episodes; report what was taken, what was left out and why."""
    from pipeline.params import load_params
    from pipeline.stages import ingest as stage

    stage.run(load_params(params), out, source)


@app.command()
def dataset(
    params: ParamsFile = PARAMS,
    out: Annotated[Path, typer.Option(help="Folder to write.")] = Path("artifacts/dataset"),
    source: Annotated[Path | None, typer.Option(help="episodes.zarr of ingest.")] = None,
) -> None:
    """Resample episodes, label actions, split; write the training zarr."""
    from pipeline.params import load_params
    from pipeline.stages import dataset as stage

    stage.run(load_params(params), out, source)


@app.command()
def train(
    params: ParamsFile = PARAMS,
    out: Annotated[
        Path, typer.Option("--out", "--output-dir", "--output_dir", help="Folder to write.")
    ] = Path("artifacts/train"),
    data_path: Annotated[
        Path | None, typer.Option("--data-path", "--data_path", help="Training zarr.")
    ] = None,
    num_epochs: Annotated[
        int | None, typer.Option("--num-epochs", "--num_epochs", help="For train.num_epochs.")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option("--batch-size", "--batch_size", help="For train.batch_size.")
    ] = None,
    lr: Annotated[float | None, typer.Option(help="For train.lr.")] = None,
    horizon: Annotated[int | None, typer.Option(help="For policy.horizon.")] = None,
    n_obs_steps: Annotated[
        int | None, typer.Option("--n-obs-steps", "--n_obs_steps", help="For policy.n_obs_steps.")
    ] = None,
    save_freq: Annotated[
        int | None, typer.Option("--save-freq", "--save_freq", help="For train.save_freq.")
    ] = None,
    init_from: Annotated[
        Path | None, typer.Option("--init-from", help="Checkpoint to start from: train.init_from.")
    ] = None,
    rate_hz: Annotated[
        float | None,
        typer.Option("--rate-hz", help="Control rate of a zarr that does not say its own, Hz."),
    ] = None,
) -> None:
    """Train the diffusion policy."""
    from pipeline.params import load_params
    from pipeline.stages import train as stage

    chosen = load_params(params).override(
        "train",
        num_epochs=num_epochs,
        batch_size=batch_size,
        lr=lr,
        save_freq=save_freq,
        init_from=init_from,
    )
    chosen = chosen.override("policy", horizon=horizon, n_obs_steps=n_obs_steps)
    stage.run(chosen, out, data_path, rate_hz)


@app.command()
def evaluate(
    params: ParamsFile = PARAMS,
    out: Annotated[Path, typer.Option(help="Folder to write.")] = Path("artifacts/evaluate"),
    model: Annotated[Path | None, typer.Option(help="Checkpoint.")] = None,
    data: Annotated[Path | None, typer.Option(help="Training zarr with the test split.")] = None,
) -> None:
    """Measure the policy: open loop on test episodes, closed loop in simulation."""
    from pipeline.params import load_params
    from pipeline.stages import evaluate as stage

    stage.run(load_params(params), out, model, data)


@app.command()
def export(
    params: ParamsFile = PARAMS,
    out: Annotated[Path, typer.Option(help="Folder to write.")] = Path("artifacts/export"),
    model: Annotated[Path | None, typer.Option(help="Checkpoint.")] = None,
) -> None:
    """Write policy.onnx, check it against torch, build TensorRT engines."""
    from pipeline.params import load_params
    from pipeline.stages import export as stage

    stage.run(load_params(params), out, model)


@app.command()
def serve(
    model: Annotated[
        str, typer.Option(help="Folder of export, policy.onnx, or REPOSITORY@VERSION.")
    ] = "artifacts/export",
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.")] = 8765,
    backend: Annotated[
        str, typer.Option(help="auto, tensorrt, tensorrt-rtx, onnxruntime or torch.")
    ] = "auto",
    token: Annotated[
        str | None,
        typer.Option(envvar="POLICY_TOKEN", help="What clients must present (or POLICY_TOKEN)."),
    ] = None,
    tls_cert: Annotated[
        Path | None, typer.Option(help="Certificate (PEM), for wss:// instead of ws://.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its private key (PEM).")] = None,
) -> None:
    """Serve the exported policy over a WebSocket."""
    from pipeline.stages import serve as stage

    stage.run(model, host, port, backend, token, tls_cert, tls_key)


@app.command()
def bench(
    what: Annotated[
        str, typer.Argument(help="inference (every backend and network) or serve (under load).")
    ] = "inference",
    params: ParamsFile = PARAMS,
    out: Annotated[Path, typer.Option(help="Folder for results and pictures.")] = Path(
        "bench/results"
    ),
    calls: Annotated[int, typer.Option(min=1, help="Calls that are timed.")] = 1000,
    model: Annotated[
        Path | None, typer.Option(help="Folder of export, for serve; untrained where left out.")
    ] = None,
) -> None:
    """Measure how fast chunks come: by backend, or through the server."""
    from pipeline.params import load_params
    from pipeline.stages import bench as stage

    stage.run(load_params(params), what, out, calls, model)


@app.command()
def sweep(
    settings: Settings = None,
    queue: Annotated[
        bool, typer.Option("--queue", help="In DVC's queue, several at a time (-j).")
    ] = False,
    slurm: Annotated[bool, typer.Option("--slurm", help="As jobs of a Slurm cluster.")] = False,
    slurm_local: Annotated[
        bool, typer.Option("--slurm-local", help="Such jobs as processes of this machine.")
    ] = False,
    show: Annotated[
        bool, typer.Option("--show", help="Compare what is there, run nothing.")
    ] = False,
    dry: Annotated[bool, typer.Option("--dry", help="Name the runs, run nothing.")] = False,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Runs at a time.")] = 1,
    gpus: Annotated[
        str | None, typer.Option(help="GPUs that the queue's runs share out, such as 0,1.")
    ] = None,
    sort: Annotated[str, typer.Option(help="Metric to compare by.")] = "closed_loop.success_strict",
    least: Annotated[bool, typer.Option("--least", help="The least of it is best.")] = False,
    partition: Annotated[str | None, typer.Option(help="Slurm: partition.")] = None,
    job_gpus: Annotated[int, typer.Option(min=0, help="Slurm: GPUs of a job.")] = 0,
    job_cpus: Annotated[int, typer.Option(min=1, help="Slurm: CPU cores of a job.")] = 4,
    job_memory_gb: Annotated[float, typer.Option(help="Slurm: memory of a job, GB.")] = 16.0,
    job_hours: Annotated[float, typer.Option(help="Slurm: time limit of a job, hours.")] = 4.0,
    out: Annotated[Path, typer.Option(help="Folder for the comparison.")] = Path("artifacts/sweep"),
) -> None:
    """Run the chain at every combination of some parameters; compare the runs."""
    from pipeline.experiments.slurm import ClusterOptions
    from pipeline.stages import sweep as stage

    chosen = [name for name, flag in {
        "queue": queue, "cluster": slurm or slurm_local, "show": show, "dry": dry,
    }.items() if flag]  # fmt: skip
    options = ClusterOptions(
        "local" if slurm_local else "slurm", partition, job_gpus, job_cpus, job_memory_gb, job_hours
    )
    way = stage.only_way(chosen)
    stage.run(settings or [], out, sort, least, way, jobs, gpus, options)


@app.command()
def search(
    settings: Settings = None,
    trials: Annotated[int, typer.Option("--trials", "-n", min=1, help="Trials in all.")] = 20,
    metric: Annotated[str, typer.Option(help="What is made best.")] = "closed_loop.success_strict",
    least: Annotated[bool, typer.Option("--least", help="The least of it is best.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of the proposals.")] = 0,
    storage: Annotated[
        str | None,
        typer.Option(
            envvar="SEARCH_STORAGE",
            help="sqlite:///… or postgresql://…; SQLite in .state by default.",
        ),
    ] = None,
    study: Annotated[
        str | None, typer.Option(help="Name in the storage, to share it between machines.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the comparison.")] = Path(
        "artifacts/search"
    ),
) -> None:
    """Let Optuna choose parameters, run the chain at each choice; compare the runs."""
    from pipeline.experiments.search import SearchOptions
    from pipeline.stages import search as stage

    options = SearchOptions(metric, least, trials, seed, storage, study)
    stage.run(settings or [], out, options)


@app.command()
def info(
    path: Annotated[Path, typer.Argument(help="Training zarr, checkpoint or recording.")],
    params: ParamsFile = PARAMS,
) -> None:
    """Show what a dataset, a checkpoint or a recording holds."""
    from pipeline.params import load_params
    from pipeline.stages import info as stage

    stage.run(path, load_params(params))


@app.command()
def doctor(params: ParamsFile = PARAMS) -> None:
    """Look at GPU, libraries, Docker, data, remote, disk, ports: what works, what to type."""
    from pipeline.params import load_params
    from pipeline.stages import doctor as stage

    stage.run(load_params(params))


@app.command()
def release(
    version: Annotated[str, typer.Argument(help="Semantic version, for instance v1.0.0.")],
    params: ParamsFile = PARAMS,
    push: Annotated[bool, typer.Option("--push", help="Push data, branch and tags.")] = False,
) -> None:
    """Give the committed results a version: gate, model card, tags."""
    from pipeline.params import load_params
    from pipeline.stages import release as stage

    stage.run(load_params(params), version, push)


def main() -> None:
    """Run the command line; an expected error is one red line and exit status 1."""
    try:
        app()
    except PipelineError as error:
        if "--debug" in sys.argv:
            raise
        from rich.console import Console
        from rich.text import Text

        Console(stderr=True, soft_wrap=True).print(Text(f"error: {error}", style="bold red"))
        sys.exit(1)
