"""Draws a view as styled text. Never changes it, and knows nothing of keys or of the terminal.

Control characters in bodies are left to prompt-toolkit, which shows them as `^[` instead of obeying them.
"""

from datetime import datetime

from prompt_toolkit.formatted_text import StyleAndTextTuples

from chatctl.chat_view import Line, Tick, View, tick

TICKS = {
    Tick.WAITING: ("class:waiting", "🕓"),
    Tick.SENT: ("class:sent", "✓"),
    Tick.DELIVERED: ("class:delivered", "✓✓"),
    Tick.READ: ("class:read", "✓✓"),
    Tick.REFUSED: ("class:refused", "✗"),
}
STYLE = {
    "status": "reverse",
    "time": "ansibrightblack",
    "peer": "bold ansigreen",
    "own": "bold",
    "waiting": "ansiyellow",
    "sent": "ansibrightblack",
    "delivered": "ansibrightblack",
    "read": "bold ansicyan",
    "refused": "bold ansired",
    "typing": "italic ansibrightblack",
}


def draw_status(view: View) -> StyleAndTextTuples:
    """Draw the line at the top: the peer, whether online, and the connection."""
    if view.online is None:
        presence = ""
    elif view.online:
        presence = " ● online"
    elif view.last_seen is None:
        presence = " ○ never seen"
    else:
        presence = f" ○ last seen {_clock(view.last_seen)}"
    return [("class:status", f" {view.user} ⇄ {view.peer}{presence}   [{view.connection}] ")]


def draw_typing(view: View, now_s: float) -> StyleAndTextTuples:
    """Draw the line above the input: the peer's typing, or how far the screen is from the end."""
    if now_s < view.typing_until:
        return [("class:typing", f" {view.peer} is typing …")]
    return [("class:typing", f" ↓ {view.back} below (PageDown)")] if view.back else [("", "")]


def draw_lines(view: View) -> StyleAndTextTuples:
    """Draw the messages, one after the other."""
    if not view.lines:
        return [("class:time", " No messages yet: type one and press Enter. PageUp for older ones, Ctrl-C to leave.")]
    out: StyleAndTextTuples = []
    for line in view.lines:
        out += [*_draw_line(view, line), ("", "\n")]
    return out[:-1]


def row_of_focus(view: View) -> int:
    """Tell which row of `draw_lines` the screen must show: the last of the line that it ends with."""
    shown = view.lines[: len(view.lines) - view.back]
    return max(0, sum(line.body.count("\n") + 1 for line in shown) - 1)


def _draw_line(view: View, line: Line) -> StyleAndTextTuples:
    own = line.sender == view.user
    time = "--:--" if line.ts is None else _clock(line.ts)
    name = "class:own" if own else "class:peer"
    out: StyleAndTextTuples = [("class:time", f" {time} "), (name, f"{line.sender}: "), ("", line.body)]
    mark = tick(view, line)
    if mark is not None:
        style, symbol = TICKS[mark]
        out.append((style, f"  {symbol} {line.refusal}".rstrip()))
    return out


def _clock(ts: int) -> str:
    return datetime.fromtimestamp(ts / 1000).astimezone().strftime("%H:%M")
