"""Measure how many frames a second the page of `make play` shows without a GPU.

    python -m bench.play [--seconds 20] [--model artifacts/export]

The exported policy drives the simulated arm, and the object jumps to another place every two
seconds. Once nobody watches, once a headless Chromium does, which draws in software. Frames
of the browser are those in which it drew something. CPU times do not depend on what else the
machine does. Writes bench/results/play.json.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from pipeline.machine import available_cores, processor
from pipeline.params import load_params
from pipeline.play.page import Page, start_server
from pipeline.play.scene import Scene
from pipeline.play.views.live import LiveView
from pipeline.run import versions, write_json
from pipeline.runtime.load import load_policy
from tests.fixtures.browser import Browser, find_chromium, open_browser

RESULT = Path(__file__).parent / "results" / "play.json"
WINDOW = (1280, 800)
JUMP_S = 2.0
COUNT = """
new Promise(done => {
  const gl = WebGL2RenderingContext.prototype;
  let drawn = false, frames = 0;
  for (const name of ["drawElements", "drawArrays", "drawElementsInstanced"]) {
    const original = gl[name];
    gl[name] = function (...given) { drawn = true; return original.apply(this, given); };
  }
  const start = performance.now();
  const count = () => {
    frames += drawn; drawn = false;
    const seconds = (performance.now() - start) / 1000;
    if (seconds > SECONDS) done(frames / seconds); else requestAnimationFrame(count);
  };
  requestAnimationFrame(count);
})
"""


def main() -> None:
    """Measure and write bench/results/play.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="duration of each measurement")
    parser.add_argument("--model", default="artifacts/export", help="folder of export")
    given = parser.parse_args()
    params = load_params(Path("params.yaml"))
    page = Page(start_server("127.0.0.1", 0, "bench"))
    try:
        live = LiveView(page, Scene(page.server, params), params, load_policy(given.model), None)
        page.choose({"Live": live}, "Live")
        found = _measure(page, live, given.seconds)
    finally:
        page.server.stop()
    machine = {
        "processor": processor(),
        "cores": available_cores(),
        "load_average": round(os.getloadavg()[0], 1),
        "versions": versions("viser", "onnxruntime", "mujoco"),
    }
    write_json(RESULT, {**machine, "window": list(WINDOW), **found})
    print(json.dumps(found, indent=2))


def _measure(page: Page, live: LiveView, seconds: float) -> dict[str, Any]:
    stopped = threading.Event()
    threads = [
        threading.Thread(target=page.run, args=(stopped,)),
        threading.Thread(target=_jump, args=(page, live, stopped)),
    ]
    for thread in threads:
        thread.start()
    try:
        found = {"alone": _server(page, lambda: time.sleep(seconds))}
        if find_chromium() is None:
            return found
        with (
            tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
            open_browser(Path(folder)) as browser,
        ):
            browser.open(f"http://127.0.0.1:{page.server.get_port()}", *WINDOW)
            browser.wait_for("document.querySelector('canvas') !== null")
            time.sleep(5)  # until everything is loaded
            found["watched"] = _server(page, lambda: _watch(browser, seconds, found))
        return found
    finally:
        stopped.set()
        for thread in threads:
            thread.join()


def _jump(page: Page, live: LiveView, stopped: threading.Event) -> None:
    while not stopped.wait(JUMP_S):
        page.post(live.random_object)


def _server(page: Page, wait: Callable[[], None]) -> dict[str, float]:
    """Frames per second of the page's loop, its CPU time per frame ms."""
    before, frames, started = _cpu_s([psutil.Process()]), page.frames, time.perf_counter()
    wait()
    drawn = page.frames - frames
    return {
        "frames_per_s": round(drawn / (time.perf_counter() - started), 1),
        "cpu_ms_per_frame": round((_cpu_s([psutil.Process()]) - before) / drawn * 1e3, 2),
    }


def _watch(browser: Browser, seconds: float, found: dict[str, Any]) -> None:
    children = psutil.Process().children(recursive=True)
    before = _cpu_s(children)
    rate = float(browser.evaluate(COUNT.replace("SECONDS", str(seconds))))
    used = _cpu_s(children) - before
    found["browser"] = {
        "frames_per_s": round(rate, 1),
        "cpu_ms_per_frame": round(used / (rate * seconds) * 1e3, 1),
    }


def _cpu_s(processes: list[psutil.Process]) -> float:
    times = [process.cpu_times() for process in processes if process.is_running()]
    return float(sum(each.user + each.system for each in times))


if __name__ == "__main__":
    main()
