"""The command line as a whole: help, precedence of settings, exit codes, Ctrl-C."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import structlog
import trio

from tests.serving import PATIENCE_S
from trio_push import __version__, cli
from trio_push.banner import Addresses
from trio_push.cli import main
from trio_push.commands.flags import read_section
from trio_push.commands.listen import ListenSettings
from trio_push.commands.push import PushSettings
from trio_push.config import ServeSettings
from trio_push.errors import ConfigError, Unreachable
from trio_push.settings import settings_of
from trio_push.watch import logs

ROOT = Path(__file__).parent.parent


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[ServeSettings]:
    """The settings that the server was run with; it ends at once."""
    seen: list[ServeSettings] = []

    async def run_server(
        settings: ServeSettings, *, task_status: trio.TaskStatus[Addresses]
    ) -> None:
        seen.append(settings)
        task_status.started(Addresses(wire=("http://127.0.0.1:1",)))

    server = ModuleType("trio_push.server")
    server.serve = run_server  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "trio_push.server", server)
    monkeypatch.setattr("trio_push.server", server, raising=False)
    monkeypatch.setattr(logs, "configure", lambda *_: None)
    for variable in ("TRIO_PUSH_CONFIG", "TRIO_PUSH_DRAIN", "TRIO_PUSH_LISTEN"):
        monkeypatch.delenv(variable, raising=False)
    return seen


def test_serve_runs_the_server_and_tells_where(served: list[ServeSettings]) -> None:
    with structlog.testing.capture_logs() as events:
        assert main(["serve", "--write-timeout", "500ms", "--listen", ":1", "--no-auth"]) == 0
    assert served == [ServeSettings(write_timeout_s=0.5, listen=(":1",), no_auth=True)]
    assert [each.get("url") for each in events] == ["http://127.0.0.1:1", None]


def test_a_repeated_flag_adds(served: list[ServeSettings]) -> None:
    main(["serve", "--listen", "127.0.0.1:1", "--listen", "[::1]:2"])
    assert served[0].listen == ("127.0.0.1:1", "[::1]:2")


def test_flag_then_environment_then_file_then_default(
    served: list[ServeSettings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "push.toml"
    config.write_text("[serve]\ndrain = '1m'\nkeepalive = 5\nlisten = ['127.0.0.1:1']\n[swarm]\n")
    main(["serve"])
    main(["serve", "--config", str(config)])
    monkeypatch.setenv("TRIO_PUSH_CONFIG", str(config))
    monkeypatch.setenv("TRIO_PUSH_DRAIN", "2m")
    monkeypatch.setenv("TRIO_PUSH_LISTEN", "127.0.0.1:3,127.0.0.1:4")
    main(["serve"])
    main(["serve", "--drain", "3m"])
    assert [each.drain_s for each in served] == [10, 60, 120, 180]
    assert [each.keepalive_s for each in served] == [30, 5, 5, 5]
    assert [len(each.listen) for each in served] == [1, 1, 2, 2]


def test_a_switch_of_the_environment_can_be_turned_off(
    served: list[ServeSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIO_PUSH_TLS_DEV", "yes")
    monkeypatch.setenv("TRIO_PUSH_TLS_LISTEN", "127.0.0.1:2")
    main(["serve"])
    assert served[0].tls_dev
    assert main(["serve", "--no-tls-dev"]) == 2


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["serve", "--drain", "1x"], "--drain: '1x' is not a duration: write 10s"),
        (["serve", "--listen", ":1"], "--listen :1 can be reached from other machines"),
        (["serve", "--drian", "1"], "Did you mean --drain?"),
        (["serve", "--drain"], "--drain requires an argument"),
        (["serve", "--log-level", "loud"], '"debug", "info", "warning", "error"'),
        (["serve", "--config", "/nowhere"], "--config /nowhere cannot be read: No such file"),
        (["listen"], "requires an argument"),
        (["listen", "ab", "--url", "ab"], "--url: 'ab' is no server's address"),
        (["listen", "ab", "--url", "http://127.0.0.1:1"], "does not answer: Connection refused"),
        (["push", "ab", "--url", "http://127.0.0.1:1"], "does not answer: Connection refused"),
        (["push", "ab", "--prioriti", "5"], "Did you mean --priority?"),
        (["push", "--ttl", "1x", "ab"], "--ttl: '1x' is not a duration"),
        (["serve", "--api-key", "s3cret"], "--api-key: an API key has 16 or more letters"),
        (["push", "--api-key", "s3cret", "ab"], "--api-key: an API key has 16 or more letters"),
        (["listen", "--jwt", "s3cret", "ab"], "--jwt: a JWT is three parts of letters"),
        (["serve", "--jwt-key", "/nowhere"], "add --device-auth jwt"),
    ],
)
def test_a_mistake_is_one_line_that_says_what_to_do(
    words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("trio-push: ")
    assert err.count("\n") == 1
    assert complaint in err
    assert "s3cret" not in err


@pytest.mark.parametrize(
    ("words", "variable"),
    [
        (["serve"], "TRIO_PUSH_API_KEY"),
        (["push", "ab"], "TRIO_PUSH_API_KEY"),
        (["listen", "ab"], "TRIO_PUSH_JWT"),
    ],
)
def test_a_secret_may_stand_in_the_environment(
    words: list[str],
    variable: str,
    served: list[ServeSettings],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(variable, "s3cret")
    assert main(words) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"trio-push: {variable}: ")
    assert "s3cret" not in err


def test_the_environment_of_small_commands_holds_nothing_but_secrets(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TRIO_PUSH_URL", "nonsense")
    assert main(["listen", "ab", "--url", "http://127.0.0.1:1"]) == 2
    assert "http://127.0.0.1:1 does not answer" in capsys.readouterr().err


def test_several_keys_stand_in_the_environment_with_commas(
    served: list[ServeSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIO_PUSH_API_KEY", "k" * 16 + "," + "o" * 16)
    main(["serve"])
    assert served[0].api_key == ("k" * 16, "o" * 16)
    main(["serve", "--api-key", "f" * 16])
    assert served[1].api_key == ("f" * 16,)


def test_a_command_that_is_not_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "COMMANDS", {"serve": cli.COMMANDS["serve"]})
    assert main(["srve"]) == 2
    assert 'Did you mean "serve"?' in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[serve]\ndrian = 1", r"push\.toml \[serve\] has no 'drian': did you mean 'drain'\?"),
        ("[serve]\ndrain = '1x'", r"push\.toml \[serve\] drain: '1x' is not a duration"),
        ("[sreve]\n", r"push\.toml has no 'sreve': did you mean 'serve'\?"),
        ("serve = 1", r"push\.toml: serve is a section: write \[serve\]"),
        ("serve", r"push\.toml is not TOML: Expected"),
        ("\udcff", r"push\.toml is not TOML: "),
    ],
)
def test_a_mistake_in_the_file_is_named(
    text: str, problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "push.toml"
    config.write_bytes(text.encode(errors="surrogateescape"))
    assert main(["serve", "--config", str(config)]) == 2
    assert re.search(problem, capsys.readouterr().err)


def test_a_section_that_is_not_there_says_nothing(tmp_path: Path) -> None:
    config = tmp_path / "push.toml"
    config.write_text("[swarm]\ndevices = 5\n")
    assert read_section(str(config), "serve") == {}
    assert read_section(str(config), "swarm") == {"devices": 5}


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (ConfigError("c"), 2),
        (Unreachable("u"), 2),
        (ExceptionGroup("", [ConfigError("c"), ExceptionGroup("", [ConfigError("d")])]), 2),
        (KeyboardInterrupt(), 130),
        (BaseExceptionGroup("", [KeyboardInterrupt()]), 130),
    ],
)
def test_how_a_command_ends_is_its_exit_code(
    raised: BaseException, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "make_app", lambda: _raising(raised))
    assert main([]) == code


@pytest.mark.parametrize("raised", [ZeroDivisionError(), ExceptionGroup("", [ValueError()])])
def test_what_nobody_expected_is_for_the_interpreter(
    raised: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "make_app", lambda: _raising(raised))
    with pytest.raises(type(raised)):
        main([])


def _raising(exc: BaseException) -> Callable[..., int]:
    def app(*_: Any, **__: Any) -> int:
        raise exc

    return app


@pytest.mark.parametrize(
    ("command", "settings"),
    [("serve", ServeSettings), ("push", PushSettings), ("listen", ListenSettings)],
)
def test_the_help_explains_every_setting(
    command: str,
    settings: type[Any],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    assert main([command, "--help"]) == 0
    help = capsys.readouterr().out
    assert "\x1b" not in help
    lines = help.splitlines()
    for each in settings_of(settings):
        (line,) = (line for line in lines if line.split()[1:2] == [each.flag])
        assert each.help in line
        if each.show(each.default):
            assert f"[default: {each.show(each.default)}]" in line
        if each.unit == "s":
            assert f"{each.flag} DURATION " in line


def test_the_commands_and_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    help = capsys.readouterr().out
    for name, (_, line) in cli.COMMANDS.items():
        assert any(name in each and line in each for each in help.splitlines())
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"trio-push {__version__}\n"


def python(*arguments: str) -> list[str]:
    return [sys.executable, "-W", "error", *arguments]


def test_help_is_quick_because_it_imports_little() -> None:
    heavy = {"quart", "hypercorn", "httpx", "structlog", "trio"}
    code = f"""
import sys
from trio_push.cli import main
main(["--help"])
assert not sys.modules.keys() & {heavy}, sys.modules.keys() & {heavy}"""
    subprocess.run(python("-c", code), check=True, cwd=ROOT, capture_output=True)


def test_ctrl_c_ends_listening() -> None:
    """A whole process: `python -m trio_push`, a signal, an exit code."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = "http://{}:{}".format(*listener.getsockname())
        process = subprocess.Popen(
            python("-m", "trio_push", "listen", "ab", "--url", url, "--json"),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        peer, _ = listener.accept()
        peer.recv(4096)
        peer.sendall(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
            b'id: e:1\nevent: ping\ndata: {"n": 1}\n\n'
        )
        assert process.stdout is not None
        assert '"n": 1' in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE_S)
        peer.close()
    assert process.returncode == 0
    assert (out, "Traceback" in err) == ("", False)
