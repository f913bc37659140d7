"""`verify`: breaks a private stack on purpose, or watches a deployment, and holds every promise against the run."""

import asyncio
import random
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from chatctl.failure import Failure
from chatctl.faults.kinds import KINDS
from chatctl.verify import report
from chatctl.verify.run import Options, run_against, run_privately
from chatctl.verify.screen import told
from chatctl.verify.system import Remote

NONE = "none"
ALL = "all"


def verify(
    *,
    seed: int | None = None,
    duration: float = 60.0,
    clients: int = 24,
    faults: str = ALL,
    dir: Path = Path(".verify"),  # noqa: A002 - the option's name
    against: Annotated[tuple[str, ...], Parameter(consume_multiple=True)] = (),
    token_command: str | None = None,
) -> None:
    """Check what is promised: many clients talk while things break, then everything they saw is judged.

    Exit code 1 means that a promise was broken. The verdict is printed; report.json and report.html lie in the folder.

    Parameters
    ----------
    seed: What everybody does and what breaks is drawn from it; without one, it is drawn and printed.
    duration: Seconds of talk and faults; the end takes about a minute more.
    clients: How many devices take part.
    faults: `all`, `none`, or names separated by commas.
    dir: Where the run leaves its reports and the logs of its stack.
    against: Base URLs of gateways that run elsewhere: the client side and its checks, without faults of our own.
    token_command: With `--against`: a command that prints a token for the user in its last word.
    """
    drawn = random.SystemRandom().randrange(1 << 30) if seed is None else seed
    folder = (dir / f"run-{drawn}").resolve()
    options = Options(seed=drawn, duration_s=duration, clients=clients, kinds=_kinds(faults), folder=folder)
    again = f"./dev verify --seed {drawn} --duration {duration:g} --clients {clients}"
    if against:
        if token_command is None:
            advice = "say with --token-command how to get a token"
            raise Failure("a deployment needs tokens", advice=advice)
        again += f" --against {' '.join(against)} --token-command '{token_command}'"
        run = asyncio.run(run_against(options, Remote(against, token_command), _say))
    else:
        again += f" --faults {faults}"
        run = asyncio.run(run_privately(options, _say))
    report.write(run, folder, again)
    print(told(run, again))
    print(f"reports: {folder / 'report.html'}, report.json beside it")
    sys.exit(1 if run.verdict.broken else 0)


def _kinds(named: str) -> tuple[str, ...]:
    if named in (ALL, NONE):
        return tuple(KINDS) if named == ALL else ()
    kinds = tuple(named.split(","))
    if unknown := sorted(set(kinds) - set(KINDS)):
        raise Failure(f"no such fault: {', '.join(unknown)}", advice=f"choose among {', '.join(KINDS)}")
    return kinds


def _say(what: str) -> None:
    print(f"verify: {what}", file=sys.stderr, flush=True)
