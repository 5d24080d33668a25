"""What becomes of each command in the docs: run here, shown by another test, or not possible here.

A command that no table knows fails the test. First match wins, in the order RUN, SHOWN, NOT_HERE.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

# What a reader types, and what is typed instead: nothing else differs from the docs.
SUBSTITUTIONS = (
    # The container's project and the host's clone are the test's copy of the repository.
    (r"/workspace\b", "{place}"),
    (r"~/moveit2-diffusion-policy\b", "{place}"),
    (r"/tmp/first_try\b", "{place}/first_try"),
    # The same training, shorter.
    (r"--num-epochs \d+", "--num-epochs 1"),
)

# params.yaml and examples/rail_arm.yaml of that copy: the same chain, smaller.
SMALL: dict[str, dict[str, Any]] = {
    "collect": {"episodes": 12, "workers": 1},
    # What docs/en/guide.md asks for before a zarr of the team's form is read.
    "ingest": {"workers": 1, "cache_gb": 0.0, "frame_rate_hz": 30.0},
    "policy": {"mlp_width": 16, "mlp_blocks": 1},
    "train": {"num_epochs": 1, "rollout_pens": 2, "threads": 1, "device": "cpu"},
    "evaluate": {"pens": 2, "robustness": "off", "grasp_pens": 0, "films": 0, "backends": ["torch"],
                 "open_loop_windows": 50},
    "export": {"targets": [], "latency_calls": 2},
}  # fmt: skip

# Run in the copy: commands of the pipeline in this process, the others by a shell.
RUN = (
    r"python -m pipeline (collect|ingest|dataset|train|evaluate|export|convert|info)\b.*",
    r"cp examples/rail_arm\.yaml params\.yaml",
    r"mkdir -p data checkpoints",
    r"make docker/\.env",
    r"rm -f docker/\.env",
    r"echo POLICY_TOKEN=a-long-secret >> docker/\.env",
    r"ls .*",
)


@dataclass(frozen=True)
class Shown:
    """Commands that another test runs."""

    pattern: str
    test: str
    """file::function, as pytest names it."""
    mention: str
    """What must stand in that file or in a helper beside it, so that it still runs the command."""


SHOWN = (
    Shown(r"make (repro|dataset|train|evaluate|export)( ARGS=.*)?",
          "docs/test_chain.py::test_make_runs_the_stages_of_another_arm", '"make"'),
    Shown(r"dvc exp show",
          "test_pipeline.py::test_an_experiment_changes_a_parameter_and_is_compared", '"show"'),
    Shown(r"tensorboard .*", "docs/test_chain.py::test_tensorboard_shows_a_training",
          '"tensorboard"'),
    Shown(r"python -m pipeline doctor",
          "stages/test_doctor.py::test_every_part_of_this_machine_has_a_line", "doctor"),
    Shown(r"python -m pipeline serve .*",
          "stages/test_serve.py::test_it_serves_until_it_is_stopped", '"serve"'),
    Shown(r"(export ROS_DOMAIN_ID=\d+|python -m pipeline ros2 .*)",
          "stages/robot/test_ros2.py::test_the_robot_moves_as_the_policy_commands", '"ros2"'),
    Shown(r"python -m pipeline record .*",
          "stages/robot/test_record.py::test_a_robot_s_messages_become_episodes", '"record"'),
    Shown(r"(make play|python -m pipeline play).*",
          "stages/test_play.py::test_it_shows_recordings_until_it_is_stopped", '"play"'),
    Shown(r"python -m pipeline bench serve",
          "stages/test_bench.py::test_a_served_policy_is_measured", '"serve"'),
    Shown(r"make bench-gpu( .*)?", "bench/test_gpu.py::"
          "test_every_part_runs_or_says_in_a_line_why_not", '"bench.gpu"'),
    Shown(r"(make sweep|python -m pipeline sweep -S) .*",
          "experiments/test_sequential.py::test_a_grid_runs_once_and_the_workspace_is_restored",
          "run_sequentially"),
    Shown(r"python -m pipeline sweep --queue .*",
          "experiments/test_queue.py::test_each_worker_has_its_gpu_and_failed_runs_are_queued_again",
          "run_queue"),
    Shown(r"python -m pipeline sweep --slurm .*",
          "experiments/test_slurm.py::test_jobs_push_their_experiments", "run_cluster"),
    Shown(r"python -m pipeline search -n .*",
          "experiments/test_search.py::test_an_interrupted_search_can_be_continued", "search("),
    Shown(r"(export SEARCH_STORAGE=|python -m pipeline search --study ).*",
          "experiments/test_search.py::test_trials_in_postgresql", "postgresql"),
    Shown(r"pip install \.\[(runtime|serve|ros2)\]",
          "runtime/test_packaging.py::"
          "test_a_wheel_runs_a_policy_where_neither_torch_nor_dvc_nor_pydantic_is", "wheel"),
    Shown(r"lerobot-train .*", "stages/test_convert.py::test_lerobot_trains_on_it",
          '"lerobot-train"'),
    Shown(r"make pull", "remotes/test_folder.py::"
          "test_a_fresh_clone_pulls_everything_and_runs_nothing", '"pull"'),
    Shown(r"dvc repro --pull --allow-missing", "remotes/test_folder.py::"
          "test_a_fresh_clone_pulls_everything_and_runs_nothing", '"--allow-missing"'),
    Shown(r"dvc remote add -d storage (/mnt/share/dvc|ssh://\S*|s3://\S*)",
          "remotes/test_folder.py::test_a_fresh_clone_pulls_everything_and_runs_nothing",
          '"remote", "add"'),
    Shown(r"dvc remote modify --local storage keyfile .*",
          "remotes/test_ssh.py::test_a_fresh_clone_pulls_everything_and_runs_nothing", "keyfile"),
    Shown(r"dvc remote modify (--local )?storage "
          r"(endpointurl|region|access_key_id|secret_access_key) .*",
          "remotes/test_s3.py::test_a_fresh_clone_pulls_everything_and_runs_nothing",
          "access_key_id"),
    Shown(r"make release VERSION=v1\.0\.0", "stages/test_release.py::"
          "test_a_release_is_one_commit_with_card_and_tags_that_others_can_fetch", "release.run"),
    Shown(r"git (add|commit) .*", "stages/test_release.py::"
          "test_a_release_is_one_commit_with_card_and_tags_that_others_can_fetch", '"git"'),
    Shown(r"dvc artifacts get .*", "stages/test_release.py::"
          "test_a_release_is_one_commit_with_card_and_tags_that_others_can_fetch",
          '"artifacts", "get"'),
    Shown(r"python -m examples\.pusht\.mirror .*",
          "test_pusht.py::test_it_trains_and_is_evaluated", "mirror.main"),
    Shown(r"python -m examples\.pusht\.train .*",
          "test_pusht.py::test_it_trains_and_is_evaluated", "train.main"),
    Shown(r"python -m examples\.pusht\.evaluate .*",
          "test_pusht.py::test_it_trains_and_is_evaluated", "evaluate.main"),
    Shown(r"dvc (get|import) .*", "docs/test_chain.py::test_results_are_taken_by_version",
          '"import"'),
)  # fmt: skip

# What cannot run where tests run, and why; its syntax is checked all the same.
NOT_HERE = (
    (r"docker .*", "needs Docker's engine; docker/prove.sh builds and runs both images without"),
    (r"apt-get install .*", "changes the machine"),
    (r"nvidia-smi", "needs an NVIDIA driver"),
    (r"sudo .*", "changes the machine"),
    (r"newgrp docker", "changes the user's session"),
    (r"git clone REPOSITORY.*", "the address is the reader's own"),
    (r"git pull", "the address is the reader's own"),
    (r"ssh-copy-id .*", "the server is the reader's own"),
    (r"cd .*", "followed by the test itself"),
    (r"exit", "followed by the test itself"),
    (r"make setup", "takes the environment from a package index; make test, which calls these "
     "tests, needs it first"),
    (r"source \.venv/bin/activate", "the environment is the one that runs these tests"),
    (r"make test", "it is what runs these tests"),
    (r"make bench-scale", "takes minutes and gigabytes; the stages that it runs are tested"),
    (r"python -m bench\.wheels .*", "takes packages from an index; what it does to them is tested"),
    (r"pip install \.\[(cluster|search|lerobot)\]", "takes packages from an index; the extras are "
     "checked"),
)  # fmt: skip
