from __future__ import annotations

from pathlib import Path

import pytest

from trio_push.errors import ConfigError
from trio_push.swarm.tokens import GeneratedTokens, check_prefix, read_tokens


def test_generated_tokens_are_hex_of_apples_length() -> None:
    tokens = GeneratedTokens(1000, prefix="DEC0de", seed=7)
    assert len(set(tokens)) == len(tokens) == 1000
    assert all(len(bytes.fromhex(token)) == 32 for token in tokens)
    assert all(token.startswith("dec0de") for token in tokens)


def test_the_seed_decides() -> None:
    assert list(GeneratedTokens(3, seed=1)) == list(GeneratedTokens(9, seed=1)[:3])
    assert not set(GeneratedTokens(3, seed=1)) & set(GeneratedTokens(3, seed=2))


def test_no_token_beyond_the_last() -> None:
    with pytest.raises(IndexError):
        GeneratedTokens(3)[3]


@pytest.mark.parametrize("prefix", ["xyz", "0x1", "a" * 33])
def test_bad_prefix(prefix: str) -> None:
    with pytest.raises(ConfigError, match="at most 32 digits"):
        check_prefix(prefix)


def test_token_file(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_text("# of the staging fleet\naa11\n\n  bb22  \ncc33\n")
    assert read_tokens(str(path), 2) == ["aa11", "bb22"]
    with pytest.raises(ConfigError, match=r"has 3 tokens for 4 devices.*--devices 3"):
        read_tokens(str(path), 4)
    with pytest.raises(ConfigError, match="No such file"):
        read_tokens(str(tmp_path / "absent"), 1)


def test_tokens_of_a_share_are_those_of_the_whole() -> None:
    whole = GeneratedTokens(10, seed=3, prefix="ab")
    assert list(GeneratedTokens(4, seed=3, prefix="ab", first=6)) == whole[6:]
