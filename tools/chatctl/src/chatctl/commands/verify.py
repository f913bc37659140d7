"""`verify`: breaks a private stack on purpose, or watches a deployment, and holds every promise against the run."""

import asyncio
import random
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from chatctl.failure import Failure
from chatctl.faults.kinds import KINDS, choice_of
from chatctl.verify import report
from chatctl.verify.planted.bugs import BUGS, Bug
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
    faults: str | None = None,
    planted: str | None = None,
    dir: Path = Path(".verify"),  # noqa: A002 - the option's name
    against: Annotated[tuple[str, ...], Parameter(consume_multiple=True)] = (),
    token_command: str | None = None,
    disturbed: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Check what is promised: many clients talk while things break, then everything they saw is judged.

    Exit code 1 means that a promise was broken. The verdict is printed; report.json and report.html lie in the folder.

    Parameters
    ----------
    seed: What everybody does and what breaks is drawn from it; without one, it is drawn and printed.
    duration: Seconds of talk and faults; the end takes about a minute more.
    clients: How many devices take part.
    faults: `all`, `none`, or names separated by commas; `kill:worker` keeps a kind to its targets that begin so.
    planted: A bug to plant: the run has to find it. Without `--faults`, those that provoke it are inflicted.
    dir: Where the run leaves its reports and the logs of its stack.
    against: Base URLs of gateways that run elsewhere: the client side and its checks, without faults of our own.
    token_command: With `--against`: a command that prints a token for the user in its last word.
    disturbed: With `--against`: somebody breaks it meanwhile; only what comes after the talk is judged by seconds.
    """
    drawn = random.SystemRandom().randrange(1 << 30) if seed is None else seed
    folder = (dir / f"run-{drawn}").resolve()
    chosen = faults or (",".join(_bug(planted).faults) if planted else ALL)
    options = Options(
        seed=drawn, duration_s=duration, clients=clients, kinds=_kinds(chosen), folder=folder, planted=planted
    )
    again = f"./dev verify --seed {drawn} --duration {duration:g} --clients {clients}"
    if against:
        if token_command is None:
            advice = "say with --token-command how to get a token"
            raise Failure("a deployment needs tokens", advice=advice)
        again += f" --against {' '.join(against)} --token-command '{token_command}'"
        again += " --disturbed" if disturbed else ""
        run = asyncio.run(run_against(options, Remote(against, token_command, disturbed=disturbed), _say))
    else:
        again += f" --faults {chosen}" + (f" --planted {planted}" if planted else "")
        run = asyncio.run(run_privately(options, _say))
    report.write(run, folder, again)
    print(told(run, again))
    print(f"reports: {folder / 'report.html'}, report.json beside it")
    sys.exit(1 if run.verdict.broken else 0)


def _kinds(named: str) -> tuple[str, ...]:
    if named in (ALL, NONE):
        return tuple(KINDS) if named == ALL else ()
    kinds = tuple(named.split(","))
    try:
        for kind in kinds:
            choice_of(kind)
    except ValueError as error:
        raise Failure(str(error), advice="choose among them") from None
    return kinds


def _bug(name: str) -> Bug:
    if name not in BUGS:
        raise Failure(f"no such bug: {name}", advice=f"choose among {', '.join(BUGS)}")
    return BUGS[name]


def _say(what: str) -> None:
    print(f"verify: {what}", file=sys.stderr, flush=True)
