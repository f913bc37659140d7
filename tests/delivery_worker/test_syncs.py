"""A sync on real databases: pages that hold everything once, in order; tokens; devices; who is replaced."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from chatcore.delivery import CursorRow, MemberRow, MessageRow, Plan
from chatcore.errors import Close, Refusal
from chatcore.ids import conversation_id
from chatcore.keys import Member
from chatcore.push import Admission, Kind, Page, read_close, records
from chatcore.stream import ConversationsRequest, HistoryRequest, Request, SyncRequest
from delivery_worker.metrics import WorkerMetrics
from delivery_worker.pager import PAGE_BYTES
from delivery_worker.requests import Answerer
from delivery_worker.router import Publications
from delivery_worker.settings import MySQLSettings
from delivery_worker.store.batches import MySQLBatchStore
from delivery_worker.store.devices import DeviceStore
from delivery_worker.store.ownership import MySQLOwnerStore
from delivery_worker.store.reads import ReadStore
from delivery_worker.store.session import Session
from delivery_worker.store.wire import MySQLWire
from delivery_worker.syncs import Syncer
from prometheus_client import CollectorRegistry

PEERS = ("ann", "ben", "cid")
EACH = 200


class Stage:
    """A database with messages to bob, and a syncer."""

    def __init__(self, settings: MySQLSettings) -> None:
        self.session, self.reading = Session(settings), Session(settings)
        self.owners = MySQLOwnerStore(self.session, owner="w")
        self.batches = MySQLBatchStore(self.session, owner="w")
        self.syncer = Syncer(ReadStore(self.reading), DeviceStore(self.reading), database_epoch="e1")
        self.epoch = 0

    async def commit(self, plan: Plan) -> None:
        if not self.epoch:
            self.epoch = await self.owners.next_epoch()
            await self.owners.raise_epoch(self.epoch, [], [0])
        fence = await self.batches.begin(self.epoch, [0], [], [], skip_locked=False)
        await self.batches.commit(plan, fence.now)

    async def fill(self, peer: str, count: int, *, last_ts: int, body: str = "x" * 200, read: int = 0) -> None:
        conversation = conversation_id(peer, "bob")
        rows = [MessageRow(conversation, i, peer, "p", f"c{i}", last_ts, body) for i in range(1, count + 1)]
        members = [
            MemberRow("bob", conversation, peer, count, last_ts, read, read, 0, 0),
            MemberRow(peer, conversation, "bob", count, last_ts, 0, 0, read, read),
        ]
        await self.commit(Plan(messages=rows, members=members))

    async def ask(self, *, number: int = 1, routes: tuple[Member, ...] = (), **changes: Any) -> list[tuple[Any, ...]]:
        values = {"admit": False, "since": "", "position": "", "entered_ms": 5, "device": "desk", **changes}
        request = SyncRequest(gateway="g", connection=7, user="bob", number=number, **values)
        publications = Publications()
        await self.syncer.answer([request], publications, {"bob": routes})
        return [r for published in publications.by_gateway.values() for r in records(bytes(published))]

    async def pages(self, **changes: Any) -> list[Page]:
        """Ask page by page, as a gateway does."""
        pages: list[Page] = []
        while not pages or pages[-1].position:
            position = pages[-1].position if pages else ""
            answer = await self.ask(number=len(pages) + 1, position=position, **changes)
            [page] = [Page.decode(payload) for kind, _, payload in answer if kind == Kind.PAGE]
            assert page.number == len(pages) + 1
            pages.append(page)
        return pages

    def close(self) -> None:
        self.session.close()
        self.reading.close()


@pytest.fixture
async def made(database: MySQLSettings) -> AsyncIterator[Stage]:
    stage = Stage(database)
    yield stage
    stage.close()


async def test_pages_hold_each_message_once_in_order_and_each_conversation_before_its_first(made: Stage) -> None:
    for index, peer in enumerate(PEERS):
        await made.fill(peer, EACH, last_ts=1_000 + index)
    named: list[str] = []
    seen: dict[str, list[int]] = {}
    pages = await made.pages()
    assert len(pages) > 2
    for page in pages:
        assert len(page.frame) <= PAGE_BYTES
        frame = json.loads(page.frame)
        assert frame["done"] is (page is pages[-1])
        assert (frame["token"] or "") == page.token
        named += [conversation["peer"] for conversation in frame["conversations"]]
        for message in frame["messages"]:
            assert message["peer"] in named
            seen.setdefault(message["peer"], []).append(message["seq"])
    assert named == ["cid", "ben", "ann"], "the latest first"
    assert seen == {peer: list(range(1, EACH + 1)) for peer in PEERS}


async def test_a_conversation_that_changes_between_two_pages_is_neither_lost_nor_named_twice(made: Stage) -> None:
    for index, peer in enumerate(PEERS):
        await made.fill(peer, EACH, last_ts=1_000 + index)
    [(_, _, payload)] = await made.ask()
    first = Page.decode(payload)
    row = MessageRow(conversation_id("ann", "bob"), EACH + 1, "ann", "p", "late", 9_000, "hi")
    members = [
        MemberRow(u, row.conversation, p, EACH + 1, 9_000, 0, 0, 0, 0) for u, p in (("bob", "ann"), ("ann", "bob"))
    ]
    await made.commit(Plan(messages=[row], members=members))
    frames, position, number = [json.loads(first.frame)], first.position, 2
    while position:
        [(_, _, payload)] = await made.ask(position=position, number=number)
        page = Page.decode(payload)
        frames.append(json.loads(page.frame))
        position, number = page.position, number + 1
    named = [conversation["peer"] for frame in frames for conversation in frame["conversations"]]
    assert named == ["cid", "ben", "ann"]
    assert [m["seq"] for frame in frames for m in frame["messages"] if m["peer"] == "ann"] == list(range(1, EACH + 2))


async def test_a_message_larger_than_a_page_has_one_for_itself(made: Stage) -> None:
    await made.fill("ann", 3, last_ts=1_000, body="\x01" * 10_900)
    pages = await made.pages()
    assert [len(json.loads(page.frame)["messages"]) for page in pages] == [0, 1, 1, 1]


async def test_the_token_stays_below_what_the_device_lacks_and_leaves_out_only_the_unchanged(
    made: Stage, session: Session
) -> None:
    await made.fill("ann", 3, last_ts=1_000)
    [page] = await made.pages()
    [again] = await made.pages(since=page.token)
    assert [m["seq"] for m in json.loads(again.frame)["messages"]] == [1, 2, 3], "nothing was acknowledged"
    await made.commit(Plan(cursors=[CursorRow("bob", "desk", conversation_id("ann", "bob"), 3)]))
    await session.run("UPDATE member SET updated_at = updated_at - 120000")
    [page] = await made.pages(since=page.token)
    [quiet] = await made.pages(since=page.token)
    assert json.loads(quiet.frame)["conversations"] == []


@pytest.mark.parametrize(
    "spoil", [lambda t: "nonsense", lambda t: "e0" + t[2:], lambda t: t[:-1] + "!", lambda t: t + ".1"]
)
async def test_an_unusable_token_is_ignored(made: Stage, spoil: Any) -> None:
    await made.fill("ann", 1, last_ts=1_000, read=1)
    [page] = await made.pages()
    [full] = await made.pages(since=spoil(page.token))
    assert len(json.loads(full.frame)["conversations"]) == 1


async def test_a_token_of_another_device_is_ignored(made: Stage) -> None:
    await made.fill("ann", 1, last_ts=1_000)
    [page] = await made.pages(device="phone")
    [full] = await made.pages(since=page.token)
    assert len(json.loads(full.frame)["messages"]) == 1


async def test_a_position_that_nobody_can_read_begins_the_sync_anew(made: Stage) -> None:
    await made.fill("ann", 2, last_ts=1_000)
    [(_, _, payload)] = await made.ask(position="of another release")
    assert len(json.loads(Page.decode(payload).frame)["messages"]) == 2


async def test_a_handshake_registers_the_device_before_it_is_answered(made: Stage) -> None:
    await made.fill("ann", 5, last_ts=1_000, read=3)
    answer = await made.ask(admit=True)
    assert [kind for kind, _, _ in answer] == [Kind.ADMISSION, Kind.PAGE]
    assert Admission.decode(answer[0][2]).refusal is None
    frame = json.loads(Page.decode(answer[1][2]).frame)
    assert frame["conversations"][0]["cursor"] == 3, "what no device of the user holds yet"
    assert [message["seq"] for message in frame["messages"]] == [4, 5]


async def test_a_revoked_device_is_refused_and_gets_no_page(made: Stage) -> None:
    await made.ask(admit=True)
    await DeviceStore(made.session).revoke("bob", "desk")
    for admit in (True, False):
        [(kind, _, payload)] = await made.ask(admit=admit)
        assert kind == Kind.ADMISSION
        assert Admission.decode(payload).refusal is Refusal.REVOKED


async def test_syncs_that_are_answered_together_get_each_what_is_theirs(made: Stage) -> None:
    await made.fill("ann", 40, last_ts=1_000, read=3)
    await made.fill("ben", 2, last_ts=2_000)
    await made.ask(admit=True)
    asked = [("bob", "desk", ""), ("bob", "new", ""), ("ann", "p", ""), ("bob", "desk", "of another release")]
    requests = [
        SyncRequest("g", number, user, device, 1, True, "", position, 5)
        for number, (user, device, position) in enumerate(asked)
    ]
    publications = Publications()
    await made.syncer.answer(requests, publications, {})
    found = {
        (number, message["peer"]): [m["seq"] for m in frame["messages"] if m["peer"] == message["peer"]]
        for kind, number, payload in records(bytes(publications.by_gateway["g"]))
        if kind == Kind.PAGE
        for frame in [json.loads(Page.decode(payload).frame)]
        for message in frame["messages"]
    }
    of_bob = {"ann": list(range(4, 41)), "ben": [1, 2]}
    whose = {0: of_bob, 1: of_bob, 2: {"bob": list(range(1, 41))}, 3: of_bob}
    assert found == {(number, peer): seqs for number, own in whose.items() for peer, seqs in own.items()}


async def test_one_sync_that_mysql_refuses_leaves_the_others_their_answer(made: Stage) -> None:
    await made.fill("ann", 2, last_ts=1_000)
    metrics = WorkerMetrics(CollectorRegistry())
    answerer = Answerer(ReadStore(made.reading), made.syncer, metrics)
    good, bad = (
        SyncRequest("g", n, "bob", "desk", 1, False, "", position, 5) for n, position in ((1, ""), (2, "0.0."))
    )
    publications = Publications()
    await answerer.answer([good, bad], publications, {})
    kinds = [(kind, number) for kind, number, _ in records(bytes(publications.by_gateway["g"]))]
    assert kinds == [(Kind.PAGE, 1), (Kind.UNSYNCED, 2)]


@pytest.mark.parametrize("heard", [True, False], ids=["heard", "unheard"])
async def test_the_first_request_after_the_sessions_were_killed_is_answered(
    made: Stage, monkeypatch: pytest.MonkeyPatch, heard: bool
) -> None:
    await made.fill("ann", 2, last_ts=1_000)
    if not heard:
        monkeypatch.setattr(MySQLWire, "ended", False)
    metrics = WorkerMetrics(CollectorRegistry())
    answerer = Answerer(ReadStore(made.reading), made.syncer, metrics)
    asked: list[Request] = [
        SyncRequest("g", 1, "bob", "desk", 1, False, "", "", 5),
        SyncRequest("g", 2, "bob", "new", 1, True, "", "", 5),
        HistoryRequest("g", 3, "bob", "h", "ann", None, None, 50),
        ConversationsRequest("g", 4, "bob", "desk", "l", 50, None),
    ]
    for request in asked:
        await made.reading.run("SELECT 1")
        [[(connection,)]] = await made.reading.run("SELECT CONNECTION_ID()")
        await made.session.run(f"KILL {connection}")
        publications = Publications()
        await answerer.answer([request], publications, {})
        [*_, (kind, number, payload)] = records(bytes(publications.by_gateway["g"]))
        assert number == request.connection
        assert kind in (Kind.PAGE, Kind.FRAME)
        assert b"unavailable" not in payload
    assert metrics.requests_failed._value.get() == 0


async def test_only_older_connections_of_the_same_device_are_replaced(made: Stage) -> None:
    mine, older = Member("desk", "g", 7, 5), Member("desk", "h", 1, 4)
    other = Member("phone", "h", 2, 3)
    answer = await made.ask(admit=True, routes=(other, mine, older))
    closed = [(connection, read_close(payload)[0]) for kind, connection, payload in answer if kind == Kind.CLOSE]
    assert closed == [(1, Close.REPLACED)]
