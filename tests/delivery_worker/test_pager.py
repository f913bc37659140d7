"""How full a page gets."""

from chatcore.delivery import MessageRow
from chatcore.ids import ConversationId, UserId
from delivery_worker.pager import PAGE_BYTES, Member, PageBuilder

CONVERSATION = ConversationId(b"c" * 16)


def member(peer: str) -> Member:
    return Member(CONVERSATION, UserId(peer), 1, 1, 0, 0, 0, 0, 1, 0)


def message(body: str) -> MessageRow:
    return MessageRow(CONVERSATION, 1, "ann", "phone", "c1", 1, body)


def test_a_page_full_of_conversations_takes_no_message_beyond_its_size() -> None:
    page = PageBuilder()
    named = 0
    while page.name(member(f"peer-{named:059d}")):
        named += 1
    assert named > 100
    assert not page.add(message("\x01" * 10_800), "bob")
    assert len(page.frame(token=None)) <= PAGE_BYTES


def test_a_page_with_one_conversation_takes_no_message_beyond_its_size_and_the_next_one_does() -> None:
    page, following = PageBuilder(), PageBuilder()
    assert page.name(member("bob"))
    large = message("\x01" * 10_890)
    assert not page.add(large, "bob")
    assert following.add(large, "bob")
    assert not following.add(message("hi"), "bob")
