"""Checks commands without running them: options, targets, services, extras."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import typer
from ruamel.yaml import YAML
from typer.core import TyperGroup

from pipeline.cli import app

from .blocks import REPOSITORY

COMPOSE_OPTIONS = {"up": {"-d", "--build"}, "build": {"--build-arg"}, "exec": set[str](),
                   "down": set[str](), "logs": set[str](), "version": set[str](),
                   "ps": set[str]()}  # fmt: skip
DOCKER = {"--version": 0, "run": 5, "ps": 1}
"""Further words that the docs use with Docker itself."""


def complaint(words: tuple[str, ...]) -> str | None:
    """What is wrong with a command, or None.

    Args:
        words: of a simple command, unquoted.
    """
    match words:
        case ("python", "-m", "pipeline", *rest):
            return pipeline_complaint(rest)
        case ("make", *rest):
            return make_complaint(rest)
        case ("docker", "compose", *rest):
            return compose_complaint(rest)
        case ("docker", *rest):
            known = rest and rest[0] in DOCKER and len(rest) - 1 <= DOCKER[rest[0]]
            return None if known else f"docker {' '.join(rest)} is not in tests/docs/syntax.py"
        case ("pip", "install", *rest):
            return pip_complaint(rest)
    return None


def pipeline_complaint(words: list[str]) -> str | None:
    """Unknown commands and options of `python -m pipeline`."""
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    command = group
    for word in words:
        if word.startswith("-"):
            name = word.partition("=")[0]
            known = {option for item in command.params for option in item.opts}
            if name not in known | {"-h", "--help"}:
                return f"{command.name}: no option {name}; it has {sorted(known)}"
        elif command is group:
            if word not in group.commands:
                return f"no command {word}; there are {sorted(group.commands)}"
            command = group.commands[word]
    return None


def make_complaint(words: list[str]) -> str | None:
    """Unknown targets and variables of the Makefile."""
    text = (REPOSITORY / "Makefile").read_text()
    for word in words:
        name, is_variable, _ = word.partition("=")
        if is_variable and not re.search(rf"\$\({name}\)", text):
            return f"the Makefile reads no {name}"
    dry = subprocess.run(
        ["make", "-n", *words], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    return dry.stderr.strip() or "make fails" if dry.returncode else None


def compose_complaint(words: list[str]) -> str | None:
    """Unknown subcommands, options, services and profiles of docker/compose.yaml."""
    services = YAML(typ="safe").load(REPOSITORY / "docker/compose.yaml")["services"]
    profiles = {profile for each in services.values() for profile in each.get("profiles", ())}
    if words[:1] == ["--profile"]:
        if words[1] not in profiles:
            return f"no profile {words[1]}; there are {sorted(profiles)}"
        words = words[2:]
    if not words or words[0] not in COMPOSE_OPTIONS:
        return f"docker compose {' '.join(words)}: known are {sorted(COMPOSE_OPTIONS)}"
    if words[0] == "version":
        return None
    options = COMPOSE_OPTIONS[words[0]]
    wrong = [word for word in words[1:] if word.startswith("-") and word not in options]
    named = [word for word in words[1:] if not word.startswith("-") and "=" not in word]
    unknown = [word for word in named[:1] if word not in services]
    if wrong or unknown:
        return f"docker compose {words[0]}: {wrong + unknown}; services are {sorted(services)}"
    return None


def pip_complaint(words: list[str]) -> str | None:
    """Extras that pyproject.toml does not have."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    extras = set(project["optional-dependencies"])
    for word in words:
        found = re.fullmatch(r"\.\[(\w+)\]", word)
        if found and found[1] not in extras:
            return f"no extra {found[1]}; there are {sorted(extras)}"
    return None


def shell_complaint(text: str) -> str | None:
    """What `bash -n` says of a block; words after a backslash that a shell would not join."""
    if re.search(r"\\[ \t]+(#|$)", text, re.M):
        return "a backslash that is not the last of its line"
    done = subprocess.run(
        ["bash", "-n"], input=text, capture_output=True, text=True, check=False, cwd=Path("/")
    )
    return done.stderr.strip() if done.returncode else None
