"""Give the committed results a version: gate, model card, tags, and on request push them.

The steps are in `pipeline.release`; each may be taken again, so a failed push goes on from there.
"""

from __future__ import annotations

from pathlib import Path

from pipeline.params import Params
from pipeline.release import publish
from pipeline.release.card import FILES, read_results, write_card
from pipeline.release.gate import require_success, require_version
from pipeline.release.status import Artifact, Repository
from pipeline.repository import RepositoryError
from pipeline.run import console

CARD = Path("MODEL_CARD.md")


def run(params: Params, version: str, push: bool, root: Path = Path()) -> None:
    """Release what is committed and reproduced.

    Args:
        params: section release, and the sections that the model card describes.
        version: for instance v1.0.0.
        push: also push data, branch and tags.
        root: the repository.

    Raises:
        RepositoryError: the tree is not clean, the results are not those of dvc.lock, the version
            is taken, or a push failed.
        GateError: the policy has shown too little.
        CardError: the results lack a figure.
    """
    require_version(version)
    repository = Repository(root)
    repository.require_clean(str(CARD))
    artifacts = repository.artifacts()
    publish.require_free(repository, artifacts, version)
    if push:
        publish.require_pushable(repository, artifacts, version)
    repository.require_reproduced()
    results = read_results(root)
    require_success(results["metrics"], params.release, FILES["metrics"])
    card = write_card(_model(artifacts).name, version, results, params)
    if publish.commit_card(repository, CARD, card, version):
        console.print(f"wrote {CARD} and committed it")
    tags = publish.tag(repository, artifacts, version)
    console.print(f"{', '.join(tags)} at commit {repository.head()[:10]}")
    if push:
        console.print(publish.push(repository, tags))
    else:
        console.print("nothing was pushed: run the same command with --push to do so")


def _model(artifacts: list[Artifact]) -> Artifact:
    for artifact in artifacts:
        if artifact.kind == "model":
            return artifact
    raise RepositoryError("dvc.yaml: no artifact has `type: model`; expected the exported policy")
