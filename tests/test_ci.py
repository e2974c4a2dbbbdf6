"""What CI runs on GitHub is what `make test` runs: every environment of tox, once."""

from __future__ import annotations

import configparser
import itertools
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent


def expanded(name: str) -> list[str]:
    """The names that one with braces stands for: py3{11,12} → py311, py312."""
    parts = re.split(r"\{([^}]*)\}", name)
    choices = [part.split(",") if i % 2 else [part] for i, part in enumerate(parts)]
    return ["".join(choice) for choice in itertools.product(*choices)]


def test_github_runs_every_environment() -> None:
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini")
    names = re.findall(r"(?:[^,{\s]|\{[^}]*\})+", tox["tox"]["env_list"])
    default = [env for name in names for env in expanded(name)]
    workflow = (ROOT / ".github/workflows/ci.yml").read_text()
    listed = re.findall(r'env: (?:\[([^]]*)\]|"([^"]*)")', workflow)
    run = [env.strip() for pair in listed for env in "".join(pair).split(",")]
    assert sorted(run) == sorted(default)
    assert len(set(run)) == len(run) > 3
