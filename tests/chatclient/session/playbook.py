"""Drives a session through a playbook: what happens at which second, and what it wants done."""

from typing import Any

from chatclient.events import Event, Message
from chatclient.session import Session, Snapshot
from chatclient.session import effects as e
from chatclient.session import inputs as i
from chatclient.session.limits import UNTAKEN_MAX

Frame = dict[str, Any]


def welcome(epoch: str = "e1", **limits: int) -> Frame:
    return {
        "type": "welcome", "user": "alice", "device": "phone", "gateway": "gw", "epoch": epoch, "ts": 1,
        "limits": limits,
    }  # fmt: skip


def item(
    peer: str = "bob", *, last: int = 0, cursor: int = 0, read: int = 0, delivered: int = 0, seen: int = 0
) -> Frame:
    return {
        "peer": peer, "last": last, "cursor": cursor, "read": read, "peer_delivered": delivered, "peer_read": seen
    }  # fmt: skip


def sync(*items: Frame, messages: tuple[Frame, ...] = (), done: bool = True) -> Frame:
    frame = {"type": "sync", "conversations": list(items), "messages": list(messages), "done": done}
    return frame | ({"token": "t1"} if done else {})


def message(seq: int, peer: str = "bob", *, sender: str = "bob", ident: str = "") -> Frame:
    return {
        "type": "message", "peer": peer, "from": sender, "device": "d", "seq": seq, "id": ident or f"m{seq}", "ts": seq,
        "body": f"{seq}",
    }  # fmt: skip


def sent(ident: str, seq: int, peer: str = "bob") -> Frame:
    return {"type": "sent", "id": ident, "peer": peer, "seq": seq, "ts": seq}


def refusal(ref: str, code: str = "overloaded", retry_after_ms: int | None = None) -> Frame:
    frame: Frame = {"type": "error", "code": code, "message": "", "ref": ref}
    return frame if retry_after_ms is None else frame | {"retry_after_ms": retry_after_ms}


class Play:
    """A session and its clock. Every step returns the effects; `until` moves the clock through all ticks."""

    def __init__(
        self, snapshot: Snapshot | None = None, *, renewable: bool = False, untaken_max: int = UNTAKEN_MAX
    ) -> None:
        self.session = Session(snapshot or Snapshot(), renewable=renewable, untaken_max=untaken_max)
        self.now = 100.0

    def do(self, event: i.Input) -> list[e.Effect]:
        return self.session.handle(event, self.now)

    def start(self) -> list[e.Effect]:
        return self.do(i.Started())

    def arrive(self, *frames: Frame) -> list[e.Effect]:
        return [effect for frame in frames for effect in self.do(i.Arrived(frame))]

    def send(self, ident: str, to: str = "bob") -> list[e.Effect]:
        return self.do(i.Submitted(ident, to, f"body of {ident}"))

    def take(self, seq: int, peer: str = "bob") -> list[e.Effect]:
        return self.do(i.Taken(peer, seq))

    def lose(self, code: int | None = None, luck: float = 0.5) -> list[e.Effect]:
        return self.do(i.Lost(code, luck))

    def wait(self, seconds: float) -> list[e.Effect]:
        end, out = self.now + seconds, []
        while (wake_at := self.session.wake_at) is not None and wake_at <= end:
            self.now = max(self.now, wake_at)
            out += self.do(i.Ticked())
        self.now = end
        return out


def online(*items: Frame, snapshot: Snapshot | None = None, **limits: int) -> Play:
    """A session whose first sync named these conversations and is finished."""
    play = Play(snapshot)
    play.start()
    play.arrive(welcome(**limits), sync(*items))
    return play


def frames(effects: list[e.Effect]) -> list[Frame]:
    return [effect.frame for effect in effects if isinstance(effect, e.Write)]


def ids(effects: list[e.Effect]) -> list[str]:
    return [frame["id"] for frame in frames(effects) if frame["type"] == "send"]


def acks(effects: list[e.Effect]) -> list[tuple[str, str, int]]:
    kinds = {"delivery_ack": "delivered", "read_ack": "read"}
    return [(kinds[f["type"]], f["peer"], f["seq"]) for f in frames(effects) if f["type"] in kinds]


def told(effects: list[e.Effect]) -> list[Event]:
    return [effect.event for effect in effects if isinstance(effect, e.Tell)]


def seqs(effects: list[e.Effect]) -> list[int]:
    return [event.seq for event in told(effects) if isinstance(event, Message)]


def send_of(ident: str, to: str = "bob") -> Frame:
    return {"type": "send", "id": ident, "to": to, "body": f"body of {ident}"}
