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
from chatctl.verify.planted.bugs import BUGS, CLIENTS, DURATION_S, Bug
from chatctl.verify.run import Options, run_against, run_privately
from chatctl.verify.screen import told
from chatctl.verify.system import Remote

NONE = "none"
ALL = "all"


Seed = Annotated[
    int | None,
    Parameter(help="What everybody does and what breaks is drawn from it; without one, it is drawn and printed."),
]
Duration = Annotated[
    float | None,
    Parameter(help="Seconds of talk and faults, 60 unless told; the end takes one to two minutes more."),
]
Clients = Annotated[int | None, Parameter(help="How many devices take part, 24 unless told.")]
Faults = Annotated[
    str | None,
    Parameter(
        help="`all`, `none`, or names separated by commas; `kill:worker` keeps a kind to its targets that begin so."
    ),
]
Planted = Annotated[
    str | None,
    Parameter(help="A bug to plant: the run has to find it. What is not told of the run is as the bug needs it."),
]
Reports = Annotated[Path, Parameter(help="Where the run leaves its reports and the logs of its stack.")]
Against = Annotated[
    tuple[str, ...],
    Parameter(
        consume_multiple=True,
        help="Base URLs of gateways that run elsewhere: the client side and its checks, without faults of our own.",
    ),
]
TokenCommand = Annotated[
    str | None,
    Parameter(help="With `--against`: a command that prints a token for the user in its last word."),
]
Disturbed = Annotated[
    bool,
    Parameter(
        negative="",
        help="With `--against`: somebody breaks it meanwhile; only what comes after the talk is judged by seconds.",
    ),
]


def verify(
    *,
    seed: Seed = None,
    duration: Duration = None,
    clients: Clients = None,
    faults: Faults = None,
    planted: Planted = None,
    dir: Reports = Path(".verify"),  # noqa: A002 - the option's name
    against: Against = (),
    token_command: TokenCommand = None,
    disturbed: Disturbed = False,
) -> None:
    """Check what is promised: many clients talk while things break, then everything they saw is judged.

    Exit code 1 means that a promise was broken, or that an error ended a client: then what it would have seen is not
    judged. The verdict is printed; report.json and report.html lie in the folder.
    """
    chosen = faults or (",".join(_bug(planted).faults) if planted else ALL)
    options = _options(seed=seed, duration_s=duration, clients=clients, chosen=chosen, planted=planted, under=dir)
    again = f"./dev verify --seed {options.seed} --duration {options.duration_s:g} --clients {options.clients}"
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
    report.write(run, options.folder, again)
    print(told(run, again))
    print(f"reports: {options.folder / 'report.html'}, report.json beside it")
    sys.exit(1 if run.verdict.broken or run.fallen else 0)


def _options(
    *, seed: int | None, duration_s: float | None, clients: int | None, chosen: str, planted: str | None, under: Path
) -> Options:
    """Fill in what was not told: as the planted bug needs it, or as usual."""
    drawn = random.SystemRandom().randrange(1 << 30) if seed is None else seed
    bug = _bug(planted) if planted else None
    usual_s, many = (bug.duration_s, bug.clients) if bug else (DURATION_S, CLIENTS)
    return Options(
        seed=drawn,
        duration_s=usual_s if duration_s is None else duration_s,
        clients=many if clients is None else clients,
        kinds=_kinds(chosen),
        folder=(under / f"run-{drawn}").resolve(),
        planted=planted,
    )


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
