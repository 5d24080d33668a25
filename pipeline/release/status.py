"""The state of a git and DVC repository: uncommitted changes, artifacts, versions.

Runs both as commands.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass

from pipeline.repository import Checkout, RepositoryError, last_lines

_REGISTER = """
import sys
from gto.api import register
register(".", sys.argv[1], "HEAD", version=sys.argv[2], message=sys.argv[3])
"""


@dataclass(frozen=True)
class Artifact:
    """An entry of `artifacts:` in dvc.yaml."""

    name: str
    path: str
    kind: str
    """Its type: model or dataset."""


@dataclass(frozen=True)
class Repository(Checkout):
    """A git and DVC repository on this machine."""

    def run(self, *command: str, hint: str = "") -> str:
        """Run a command at the root.

        Args:
            command: its words; "dvc" is that of this interpreter.
            hint: what to do where it fails.

        Returns:
            What it wrote to standard output, stripped.

        Raises:
            RepositoryError: it failed; its last lines and the hint.
        """
        done = self.ask(*command)
        if done.returncode:
            said = last_lines(done.stderr, 3) or last_lines(done.stdout, 3) or "it said nothing"
            raise RepositoryError(
                f"`{' '.join(command)}` failed: {said}" + (f"; {hint}" if hint else "")
            )
        return done.stdout.strip()

    def require_clean(self, written: str) -> None:
        """Refuse a work tree with changes, since a tag would not hold them.

        Args:
            written: file that the release itself writes and that an interrupted one left.

        Raises:
            RepositoryError: something is changed or untracked; no commit is there.
        """
        self.run("git", "rev-parse", "HEAD", hint="make a first commit")
        # Each line: two letters of state, a blank, the path.
        status = self.ask("git", "status", "--porcelain", "--untracked-files=all")
        changed = [line[3:] for line in status.stdout.splitlines() if line[3:] != written]
        if changed:
            more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
            raise RepositoryError(
                f"{self.root.resolve()}: {', '.join(changed[:3])}{more} not committed; a version "
                "is a commit: commit or remove it, or name it in .gitignore"
            )

    def require_reproduced(self) -> None:
        """Refuse results that are not those of the committed dvc.lock.

        Raises:
            RepositoryError: a stage would run again, or its results are not here.
        """
        status = json.loads(self.run("dvc", "status", "--json") or "{}")
        if status:
            raise RepositoryError(
                f"{', '.join(sorted(status))}: not as dvc.lock has it (`dvc status` says what); "
                "`make pull` where the results are elsewhere, else `make repro`, "
                "then commit dvc.lock"
            )

    def artifacts(self) -> list[Artifact]:
        """Artifacts that dvc.yaml declares, in its order.

        Raises:
            RepositoryError: there is none.
        """
        from dvc.repo import Repo

        with Repo(str(self.root)) as repo:
            declared = repo.artifacts.read().get("dvc.yaml", {})
        if not declared:
            raise RepositoryError(
                f"{self.root / 'dvc.yaml'}: no `artifacts:`; expected a model, such as "
                "pen-grasp-policy with its path and `type: model`"
            )
        return [Artifact(name, item.path, item.type or "") for name, item in declared.items()]

    def branch(self) -> str:
        """The branch that is checked out; empty where none is."""
        return self.ask("git", "symbolic-ref", "--short", "-q", "HEAD").stdout.strip()

    def commit_of(self, tag: str) -> str:
        """The commit that a tag names; empty where there is no such tag.

        Args:
            tag: its name.
        """
        return self.ask(
            "git", "rev-parse", "-q", "--verify", f"refs/tags/{tag}^{{commit}}"
        ).stdout.strip()

    def register(self, artifact: Artifact, version: str) -> None:
        """Give an artifact a version: gto's annotated tag at the commit that is checked out.

        Args:
            artifact: of dvc.yaml.
            version: for instance v1.0.0.

        Raises:
            RepositoryError: gto refuses; its reason.
        """
        # gto's git library does not know every place where git finds who is tagging.
        person = self.run("git", "var", "GIT_COMMITTER_IDENT", hint="git config user.name NAME")
        found = re.match(r"(.*) <(.*)>", person)
        name, email = found.groups() if found else ("", "")
        environment = {**self.environment, "GIT_COMMITTER_NAME": name, "GIT_COMMITTER_EMAIL": email}
        environment.pop("GIT_COMMITTER_DATE", None)
        done = subprocess.run(
            [sys.executable, "-c", _REGISTER, artifact.name, version,
             f"{artifact.kind} {artifact.path}"],
            cwd=self.root, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            said = last_lines(done.stderr, 1) or "it said nothing"
            raise RepositoryError(f"{artifact.name} {version}: gto cannot register it: {said}")

    def git_remote(self) -> str:
        """Where the branch is pushed to, else origin, else the only remote.

        Raises:
            RepositoryError: there is none.
        """
        remotes = self.run("git", "remote").split()
        tracked = self.ask("git", "config", f"branch.{self.branch()}.remote").stdout.strip()
        for name in (tracked, "origin", *(remotes if len(remotes) == 1 else [])):
            if name in remotes:
                return name
        found = ", ".join(remotes) or "none"
        raise RepositoryError(
            f"{self.root.resolve()}: no git remote to push to (found: {found}); "
            "git remote add origin URL"
        )
