"""The one error that commands raise for people: what failed, where its log is, and what to do. Never a traceback."""

from pathlib import Path

LOG_TAIL_LINES = 15
"""Lines of a log that a failure shows: a Python traceback's end fits, a screen is not filled."""


class Failure(Exception):
    """A step failed in a way that its user can understand and mend."""

    def __init__(self, what: str, *, advice: str, log: Path | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.advice = advice
        self.log = log

    def told(self) -> str:
        """Return the failure as the lines that a person reads."""
        lines = [f"chatctl: {self.what}"]
        if self.log is not None:
            lines += [f"  | {line}" for line in tail(self.log)]
            lines.append(f"  its log: {self.log}")
        lines.append(f"  to do:   {self.advice}")
        return "\n".join(lines)


def tail(log: Path, lines: int = LOG_TAIL_LINES) -> list[str]:
    """Return the last lines of a log that may not exist."""
    try:
        return log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]
    except OSError:
        return []
