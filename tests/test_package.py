"""What is installed is what is in the tree: the wheel is whole, and its command starts."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture
def distribution() -> metadata.Distribution:
    try:
        return metadata.distribution("trio-push")
    except metadata.PackageNotFoundError:
        pytest.skip("trio-push is not installed here; tox installs it")


def test_the_wheel_holds_every_file_of_the_package(distribution: metadata.Distribution) -> None:
    files = [path.as_posix() for path in distribution.files or []]
    installed = {path for path in files if path.startswith("trio_push/") and ".pyc" not in path}
    if not installed:
        pytest.skip("an editable install has no files of its own")
    tree = (path for path in (ROOT / "trio_push").rglob("*") if path.is_file())
    assert installed == {p.relative_to(ROOT).as_posix() for p in tree if p.suffix != ".pyc"}


def test_the_command_exists(distribution: metadata.Distribution) -> None:
    (command,) = distribution.entry_points.select(group="console_scripts")
    assert command.name == "trio-push"
    assert callable(command.load())
