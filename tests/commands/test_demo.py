"""The demonstration, shortened: the whole of it is what `make demo` shows."""

from __future__ import annotations

import re

import pytest

from trio_push.commands import demo


async def test_demo_ends_with_balanced_books(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "DEVICES", 30)
    monkeypatch.setattr(demo, "DURATION_S", 1.5)
    monkeypatch.setattr(demo, "DELAY_S", 0.5)
    assert await demo.run() == 0
    out = capsys.readouterr().out
    assert "600 sent, 600 accepted, 0 refused" in out
    assert re.search("600 received, 0 lost, 0 duplicate, [0-9]+ late, 0 out of order", out)
    assert "600 accepted = 600 delivered: balanced" in out
