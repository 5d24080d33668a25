"""Show a page on which the policy can be played with, or on which recordings can be looked at."""

from __future__ import annotations

import signal
import threading
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import PipelineError
from pipeline.params import Params
from pipeline.run import console

if TYPE_CHECKING:
    from pipeline.play.page import Page, View
    from pipeline.play.scene import Scene


class PlayError(PipelineError):
    """The page cannot be shown."""


def run(
    params: Params,
    model: str,
    recording: Path | None,
    evaluation: Path,
    trial: int | None,
    host: str,
    port: int,
) -> None:
    """Show the page until SIGINT or SIGTERM.

    Args:
        params: all parameters.
        model: folder of stage export, policy.onnx, or REPOSITORY@VERSION.
        recording: folder of ingest to look at instead of the policy; None for the policy.
        evaluation: folder of evaluate; its trials can be replayed if it exists.
        trial: trial of the evaluation to begin with; None to begin with the live policy.
        host: address to listen on.
        port: 0 takes a free one.

    Raises:
        PipelineError: viser is missing, the port is taken, or an input is missing or damaged.
    """
    if find_spec("viser") is None:
        raise PlayError(
            "the page needs viser, which is not installed: run `make play` instead, or "
            "`pip install --no-deps -r pipeline/play/requirements.txt`"
        )
    from pipeline.play.page import Page, start_server
    from pipeline.play.scene import Scene

    stopped = threading.Event()
    server = start_server(host, port, "Recordings" if recording else "Policy")
    try:
        page, scene = Page(server), Scene(server, params)
        if recording is None:
            _show_policy(page, scene, params, model, evaluation, trial)
        else:
            _show_recording(page, scene, params, recording)
        for name in (signal.SIGINT, signal.SIGTERM):
            signal.signal(name, lambda *_: stopped.set())
        what = recording or model
        console.print(f"Showing {what} at http://{host}:{server.get_port()} (Ctrl-C stops)")
        if host not in ("127.0.0.1", "::1", "localhost"):
            console.print("Everybody who can reach this address can use the page.")
        page.run(stopped)
    finally:
        server.stop()
    console.print("Stopped")


def _show_policy(
    page: Page, scene: Scene, params: Params, model: str, evaluation: Path, trial: int | None
) -> None:
    from pipeline.play.nearest import NearestDemonstration
    from pipeline.play.trial_runs import TrialRunner, read_trials, trial_steps
    from pipeline.play.views.live import LiveView
    from pipeline.play.views.trials import TrialsView
    from pipeline.runtime.load import load_policy

    policy = load_policy(model)
    if policy.layout.is_generic:
        raise PlayError(f"{model}: its layout is generic, so there is no arm to show")
    data = Path(f"artifacts/dataset/{params.task.object}_grasp.zarr")
    nearest = NearestDemonstration.from_file(data, params, scene.model)
    views: dict[str, View] = {"Live": LiveView(page, scene, params, policy, nearest)}
    # Without an evaluation there is nothing to replay; a trial that is asked for must exist.
    if trial is not None or (evaluation / "rollouts.csv").is_file():
        runner = TrialRunner(params, policy, trial_steps(evaluation))
        trials = read_trials(evaluation, params.task.object)
        views["Trials"] = TrialsView(page, scene, runner, trials, trial)
    page.choose(views, "Live" if trial is None else "Trials")


def _show_recording(page: Page, scene: Scene, params: Params, recording: Path) -> None:
    from pipeline.play.episodes import MotionReader, read_trajectories
    from pipeline.play.views.recordings import RecordingsView

    found = read_trajectories(recording, params)
    if not found:
        raise PlayError(f"{recording}: holds no trajectory; run ingest on some recordings first")
    reader = MotionReader(params, found)
    page.choose(
        {"Recordings": RecordingsView(page, scene, scene.model, reader, found)}, "Recordings"
    )
