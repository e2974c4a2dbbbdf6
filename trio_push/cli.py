"""The command line: finds the command, runs it under trio, turns its end into an exit code.

Exit codes: 0 done, 1 it went wrong or something was refused, 2 a setting is wrong or a server
cannot be reached, 130 interrupted; the swarm's 99 is its own. A command's module is imported
only when that command runs, so that `--help` is quick.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError

from trio_push import __version__
from trio_push.errors import ConfigError, Unreachable, leaves

#: the commands, where each one is written, and its line in `--help`
COMMANDS = {
    "serve": ("trio_push.commands.serve:serve", "Run the push server."),
    "swarm": ("trio_push.commands.swarm:swarm", "Run a swarm of simulated devices."),
    "swarm-agent": (
        "trio_push.commands.swarm_agent:swarm_agent",
        "Lend this machine to swarms that are started elsewhere.",
    ),
    "push": ("trio_push.commands.push:push", "Send one push, or many from a file."),
    "listen": ("trio_push.commands.listen:listen", "Be one device and print what it gets."),
    "apns-credentials": (
        "trio_push.commands.apns_credentials:apns_credentials",
        "Make a test set of APNs credentials.",
    ),
    "demo": ("trio_push.commands.demo:run", "Watch a server and a thousand devices at work."),
}


def make_app() -> App:
    """The parser. Its commands return exit codes; None is 0."""
    app = App(
        name="trio-push",
        help="A push-notification server, and a swarm of devices to try it with.",
        version=f"trio-push {__version__}",
        backend="trio",
        result_action="return_value",
        suppress_keyboard_interrupt=False,
        help_format="plaintext",
    )
    for name, (path, help) in COMMANDS.items():
        app.command(path, name=name, help=help)
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that `arguments` (of the process, if None) ask for; its exit code.

    Raises what nobody expected, for the interpreter to print with exit code 1.
    """
    code = 0
    try:
        tokens = sys.argv[1:] if arguments is None else arguments
        # cyclopts takes "-" (stdin) for an option; a space before it makes it an argument
        tokens = [" -" if token == "-" else token for token in tokens]
        code = make_app()(tokens, exit_on_error=False, print_error=False) or 0
        sys.stdout.flush()
    except* (ConfigError, Unreachable) as group:
        code = 2
        for problem in leaves(group):
            _complain(str(problem))
    except* CycloptsError as group:
        code = 2
        for problem in leaves(group):
            _complain(f"{problem} (try --help)")
    except* KeyboardInterrupt:
        code = 130
    except* BrokenPipeError:
        # who reads our output has had enough, as in `trio-push listen … | head`
        code = 1
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


def _complain(problem: str) -> None:
    print(f"trio-push: {problem}", file=sys.stderr)
