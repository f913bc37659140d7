"""A whole server in one object, as far as a client can see: logs, cursors, marks, connections.

It answers at once and in memory; a test decides which of its frames arrive, when and how often.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

Frame = dict[str, Any]
PAGE = 3


@dataclass(eq=False)
class Line:
    """One connection; `out` holds the frames for it."""

    user: str
    device: str
    out: list[Frame] = field(default_factory=list)


class ModelServer:
    """Everybody's conversations. Conversations are keyed by the two users in order."""

    def __init__(self, epoch: str = "e1", *, page: int = PAGE) -> None:
        self.epoch = epoch
        self.page = page
        self.limits: dict[str, int] = {}
        self.logs: dict[tuple[str, str], list[Frame]] = defaultdict(list)
        self.cursors: dict[tuple[str, str, str], int] = {}
        self.reads: dict[tuple[str, str], int] = defaultdict(int)
        self.start: dict[tuple[str, str, str], int] = {}
        self.known: set[tuple[str, str]] = set()
        self.lines: list[Line] = []
        self.watchers: list[tuple[Line, str]] = []
        self.refuse: dict[str, Frame] = {}
        self.received: list[Frame] = []
        self.ahead: list[Frame] = []

    # What a test looks at.

    def log(self, one: str, other: str) -> list[Frame]:
        return self.logs[_pair(one, other)]

    def delivered(self, user: str, peer: str) -> int:
        return max((at for (who, _, with_), at in self.cursors.items() if (who, with_) == (user, peer)), default=0)

    # What happens to it.

    def connect(self, user: str, device: str) -> Line:
        line = Line(user, device)
        if (user, device) not in self.known:
            self.known.add((user, device))
            for peer in self._peers(user):
                self.cursors[user, device, peer] = self.start[user, device, peer] = self.delivered(user, peer)
        self.lines.append(line)
        welcome = {"type": "welcome", "user": user, "device": device, "gateway": "gw", "epoch": self.epoch, "ts": 1}
        line.out.append(welcome | {"limits": self.limits})
        self.sync(line)
        return line

    def disconnect(self, line: Line) -> None:
        if line in self.lines:
            self.lines.remove(line)
        self.watchers = [(who, user) for who, user in self.watchers if who is not line]

    def restore(self, one: str, other: str, length: int) -> None:
        """Come back from a backup that has only the first messages of a conversation; marks are cut with it."""
        pair = _pair(one, other)
        self.epoch = f"e{int(self.epoch[1:]) + 1}"
        del self.logs[pair][length:]
        for user, device, peer in self.cursors:
            if _pair(user, peer) == pair:
                self.cursors[user, device, peer] = min(self.cursors[user, device, peer], length)
        self.start = dict(self.cursors)  # a device that dropped its messages is owed nothing below its cursor
        for user, peer in (pair, pair[::-1]):
            self.reads[user, peer] = min(self.reads[user, peer], length)

    def sync(self, line: Line) -> None:
        conversations, messages = [], []
        for peer in self._peers(line.user):
            cursor = self.cursors.get((line.user, line.device, peer), 0)
            conversations.append(self._item(line, peer, cursor))
            messages += [self._seen(line.user, m) for m in self.log(line.user, peer) if m["seq"] > cursor]
        first = True
        while first or messages:
            page, messages = messages[: self.page], messages[self.page :]
            done = not messages
            named = conversations if first else []
            first = False
            line.out.append(
                {"type": "sync", "conversations": named, "messages": page, "done": done, "token": "t" if done else None}
            )

    def receive(self, line: Line, frame: Frame) -> None:
        self.received.append(frame)
        refusal = self.refuse.pop(frame.get("id", frame.get("ref", "")), None)
        if refusal is not None:
            line.out.append({"type": "error", "ref": frame.get("id", frame.get("ref"))} | refusal)
            return
        getattr(self, f"_{frame['type']}")(line, frame)

    def post(self, sender: str, to: str, body: str, *, device: str = "other", ident: str = "") -> Frame:
        """Commit a message; tell every device but the sending one."""
        log = self.log(sender, to)
        ident = ident or f"s{len(log)}-{sender}"
        message = {"from": sender, "to": to, "device": device, "seq": len(log) + 1, "id": ident, "ts": 5, "body": body}
        log.append(message)
        for line in self.lines:
            if line.user in (sender, to) and (line.user, line.device) != (sender, device):
                line.out.append({"type": "message"} | self._seen(line.user, message))
        return message

    # The frames of a client.

    def _send(self, line: Line, frame: Frame) -> None:
        found = [m for m in self.log(line.user, frame["to"]) if (m["from"], m["id"]) == (line.user, frame["id"])]
        message = found[0] if found else None
        if message is None:
            message = self.post(line.user, frame["to"], frame["body"], device=line.device, ident=frame["id"])
        if message["body"] != frame["body"]:
            line.out.append({"type": "error", "code": "id_conflict", "message": "", "ref": frame["id"]})
            return
        sent = {"type": "sent", "id": message["id"], "peer": frame["to"], "seq": message["seq"], "ts": message["ts"]}
        line.out.append(sent)

    def _delivery_ack(self, line: Line, frame: Frame) -> None:
        peer, seq = frame["peer"], frame["seq"]
        if seq > len(self.log(line.user, peer)):
            self.ahead.append(frame)
            line.out.append({"type": "error", "code": "ack_ahead", "message": "", "peer": peer})
            return
        key = (line.user, line.device, peer)
        self.cursors[key] = max(self.cursors.get(key, 0), seq)
        self._receipt(line.user, peer)

    def _read_ack(self, line: Line, frame: Frame) -> None:
        self._delivery_ack(line, frame)
        key = (line.user, frame["peer"])
        if frame["seq"] <= len(self.log(*key)):
            self.reads[key] = max(self.reads[key], frame["seq"])
            self._receipt(line.user, frame["peer"])

    def _history(self, line: Line, frame: Frame) -> None:
        log, limit = self.log(line.user, frame["peer"]), frame["limit"]
        if "after" in frame:
            found = [m for m in log if m["seq"] > frame["after"]]
            page, more = found[:limit], len(found) > limit
        else:
            found = [m for m in log if m["seq"] < frame.get("before", len(log) + 1)]
            page, more = found[-limit:], len(found) > limit
        messages = [self._seen(line.user, m) | {"state": self._state(m)} for m in page]
        line.out.append(
            {"type": "history", "ref": frame["ref"], "peer": frame["peer"], "messages": messages, "more": more}
        )

    def _conversations(self, line: Line, frame: Frame) -> None:
        items = []
        for peer in self._peers(line.user):
            item = self._item(line, peer, self.cursors.get((line.user, line.device, peer), 0))
            last = self._seen(line.user, self.log(line.user, peer)[-1])
            items.append(item | {"ts": 5, "unread": 0, "last_message": last})
        line.out.append({"type": "conversations", "ref": frame["ref"], "items": items, "cursor": None})

    def _typing(self, line: Line, frame: Frame) -> None:
        for other in self.lines:
            if other.user == frame["to"]:
                other.out.append({"type": "typing", "peer": line.user})

    def _presence_subscribe(self, line: Line, frame: Frame) -> None:
        for user in frame["users"]:
            self.watchers.append((line, user))
            online = any(other.user == user for other in self.lines)
            line.out.append({"type": "presence", "user": user, "online": online, "last_seen": None})

    def _presence_unsubscribe(self, line: Line, frame: Frame) -> None:
        self.watchers = [(who, user) for who, user in self.watchers if who is not line or user not in frame["users"]]

    def _auth(self, line: Line, frame: Frame) -> None:
        line.out.append({"type": "auth_ok", "expires_at": 1, "ref": frame.get("ref")})

    # What it knows.

    def _peers(self, user: str) -> list[str]:
        return [b if user == a else a for (a, b), log in self.logs.items() if user in (a, b) and log]

    def _item(self, line: Line, peer: str, cursor: int) -> Frame:
        return {
            "peer": peer,
            "last": len(self.log(line.user, peer)),
            "cursor": cursor,
            "read": self.reads[line.user, peer],
            "peer_delivered": self.delivered(peer, line.user),
            "peer_read": self.reads[peer, line.user],
        }

    def _seen(self, user: str, message: Frame) -> Frame:
        peer = message["to"] if user == message["from"] else message["from"]
        return {name: value for name, value in message.items() if name != "to"} | {"peer": peer}

    def _state(self, message: Frame) -> str:
        sender, to, seq = message["from"], message["to"], message["seq"]
        if self.reads[to, sender] >= seq:
            return "read"
        if self.delivered(to, sender) >= seq:
            return "delivered"
        return "sent" if self.delivered(sender, to) >= seq else "created"

    def _receipt(self, user: str, peer: str) -> None:
        marks = {"type": "receipt", "user": user, "delivered": self.delivered(user, peer)}
        for line in self.lines:
            if line.user in (user, peer):
                other = peer if line.user == user else user
                line.out.append(marks | {"peer": other, "read": self.reads[user, peer]})


def _pair(one: str, other: str) -> tuple[str, str]:
    return (one, other) if one < other else (other, one)
