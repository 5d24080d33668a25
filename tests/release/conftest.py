"""A repository whose results are committed and reproduced: real git, DVC and gto."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.remotes.project import Project, create, isolated

from .results import results, write

DVC_YAML = """
stages:
  chain:
    cmd: echo it stands for the chain
    deps: [params.yaml]
    outs: [artifacts]
artifacts:
  pen-grasp-dataset: {path: artifacts/dataset/dataset.json, type: dataset}
  pen-grasp-policy: {path: artifacts/export/policy.onnx, type: model}
"""


@pytest.fixture(scope="session")
def released(tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder = tmp_path_factory.mktemp("release")
    project = create(folder / "project", isolated(folder / "home"))
    write(project.root, results())
    (project.root / "artifacts/export/policy.onnx").write_text("stands for a graph")
    (project.root / "dvc.yaml").write_text(DVC_YAML)
    (project.root / "params.yaml").write_text("seed: 0\n")
    project.run("dvc", "commit", "-q", "--force")
    project.commit("Results")
    return project


@pytest.fixture
def project(
    released: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Project]:
    """A copy of its own, in whose environment this process runs too."""
    root = tmp_path / "project"
    shutil.copytree(released.root, root, symlinks=True)
    for key, value in released.environment.items():
        monkeypatch.setenv(key, value)
    for key in ("SSH_AUTH_SOCK", "GIT_DIR", "GIT_WORK_TREE"):
        monkeypatch.delenv(key, raising=False)
    yield Project(root, released.environment)
