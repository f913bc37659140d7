"""Owns what a Redis user may do, read from its rules: those of ACL LIST and those of `chatcore.acl` in one form. Pure.

Redis writes rules anew, in words that differ between its versions: `-@dangerous` may come back as a list of commands.
So rules are not compared; each is followed in turn, as Redis does, to the commands, keys and channels that are left.
https://redis.io/docs/latest/operate/oss_and_stack/management/security/acl/
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

Categories = Mapping[str, frozenset[str]]
"""Each category's commands, as ACL CAT names them: `acl` stands for itself, `acl|list` for one of its subcommands."""

_WORD: Final = re.compile(r"\(.*?\)(?=\s|$)|\S+")
"""A rule, or a whole selector in its parentheses."""
_SPECIAL: Final = re.compile(r"[?\[\]\\]")
"""What else than `*` has a meaning in a pattern. Ours have none of it."""
_REACHING: Final = re.compile(r"(~|%RW~|%R~|%W~|&)(.*)", re.DOTALL)
_RESETS: Final = {"resetkeys": "RW", "resetchannels": "&"}
_SYNONYMS: Final = {"allcommands": "+@all", "nocommands": "-@all", "allkeys": "~*", "allchannels": "&*"}


Kind = Literal["R", "W", "&"]
_KINDS: Final[Mapping[str, tuple[Kind, ...]]] = {
    "~": ("R", "W"),
    "%RW~": ("R", "W"),
    "%R~": ("R",),
    "%W~": ("W",),
    "&": ("&",),
}


class Reach(NamedTuple):
    """Keys to read, keys to write, or channels, by one pattern."""

    kind: Kind
    pattern: str

    def covers(self, other: "Reach") -> bool:
        """Tell whether all that the other reaches is reached. In doubt, for patterns unlike ours, it is not."""
        if self.kind != other.kind or self.pattern == other.pattern:
            return self == other
        wild = ".*".join(map(re.escape, self.pattern.split("*")))
        return not _SPECIAL.search(self.pattern) and re.fullmatch(wild, other.pattern, re.DOTALL) is not None

    def __str__(self) -> str:
        return f"&{self.pattern}" if self.kind == "&" else f"%{self.kind}~{self.pattern}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rights:
    """What the rules of one user leave it."""

    commands: frozenset[str]
    """Without those that only have subcommands: these stand for them."""
    reaches: frozenset[Reach]
    selectors: tuple[str, ...]
    """Further rights of their own, as Redis writes them. Ours have none."""


@dataclass(frozen=True, slots=True)
class Excess:
    """What one user may and another may not."""

    commands: tuple[str, ...]
    reaches: tuple[Reach, ...]
    selectors: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.commands or self.reaches or self.selectors)


def beyond(one: Rights, other: Rights) -> Excess:
    """Tell what `one` may that `other` may not."""
    reaches = [reach for reach in one.reaches if not any(wider.covers(reach) for wider in other.reaches)]
    selectors = tuple(selector for selector in one.selectors if selector not in other.selectors)
    return Excess(tuple(sorted(one.commands - other.commands)), tuple(sorted(reaches)), selectors)


def words_of(rules: str) -> list[str]:
    """Take rules apart. A selector is one word."""
    return [_SYNONYMS.get(word, word) for word in _WORD.findall(rules)]


def follow(words: Iterable[str], categories: Categories) -> Rights:
    """Follow the rules of one user from nothing. Words on its state and its passwords say nothing here."""
    words = tuple(words)
    return Rights(
        commands=_commands([word for word in words if word[0] in "+-"], categories),
        reaches=_reaches(words),
        selectors=tuple(word for word in words if word[0] == "("),
    )


def _commands(rules: Iterable[str], categories: Categories) -> frozenset[str]:
    parts = _parts(categories)
    left: frozenset[str] = frozenset()
    for rule in rules:
        names = _named(rule[1:].lower(), categories)
        touched = names.union(*(parts.get(name, ()) for name in names))
        # A rule on a whole command also undoes one on it with a first argument, `select|0`.
        left = frozenset(name for name in left - touched if name.partition("|")[0] not in names)
        left = left | touched if rule[0] == "+" else left
    return left - parts.keys()


def _named(name: str, categories: Categories) -> frozenset[str]:
    if name == "@all":
        return frozenset().union(*categories.values())
    return categories.get(name[1:], frozenset()) if name[0] == "@" else frozenset((name,))


def _parts(categories: Categories) -> dict[str, set[str]]:
    """Each command that has subcommands, with these: a rule on it is one on them all, by whatever category it came."""
    parts: dict[str, set[str]] = {}
    for name in _named("@all", categories):
        if "|" in name:
            parts.setdefault(name.partition("|")[0], set()).add(name)
    return parts


def _reaches(words: Iterable[str]) -> frozenset[Reach]:
    reaches: set[Reach] = set()
    for word in words:
        if gone := _RESETS.get(word):
            reaches = {reach for reach in reaches if reach.kind not in gone}
        elif match := _REACHING.match(word):
            reaches |= {Reach(kind, match[2]) for kind in _KINDS[match[1]]}
    return frozenset(reaches)
