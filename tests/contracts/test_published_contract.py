"""The AsyncAPI document is what the models say, and the models say what the outside judge reads off the protocol."""

import json
from pathlib import Path

import orjson
import pytest
from chatcore.frames import client_frame_types
from chatcore.server_frames import read_server_frame, server_frame_types
from chatctl.asyncapi import document
from chatctl.verify.contract import MAX_SERVER_FRAME_BYTES, SHAPES, Frame
from pydantic import ValidationError

from tests.contracts.test_protocol_shapes import BAD, GOOD

DOCUMENT = Path(__file__).parents[2] / "docs" / "asyncapi.json"
OURS = [frame for frame in GOOD if "a_field_of_the_future" not in frame]
SHAPELESS = [frame for frame in BAD if len(orjson.dumps(frame)) < MAX_SERVER_FRAME_BYTES]


def test_the_document_in_the_repository_is_the_one_that_the_models_give() -> None:
    assert json.loads(DOCUMENT.read_text(encoding="utf-8")) == document(), "run `./dev asyncapi > docs/asyncapi.json`"


def test_the_document_names_every_frame_of_both_sides_and_no_other() -> None:
    messages = document()["components"]["messages"]
    named = sorted(message["name"] for message in messages.values())
    assert len(messages) == len(client_frame_types()) + len(server_frame_types())
    assert set(SHAPES) <= set(named)


def test_every_reference_in_the_document_leads_somewhere() -> None:
    text = json.dumps(document())
    references = {part.split('"')[0] for part in text.split('"$ref": "')[1:]}
    for reference in references:
        node = document()
        for step in reference.removeprefix("#/").split("/"):
            node = node[step]
        assert node, reference


@pytest.mark.parametrize("frame", OURS, ids=[f"{n}-{frame['type']}" for n, frame in enumerate(OURS)])
def test_the_models_take_what_the_protocol_shows(frame: Frame) -> None:
    assert read_server_frame(orjson.dumps(frame))


@pytest.mark.parametrize("frame", SHAPELESS, ids=[f"{n}-{frame['type']}" for n, frame in enumerate(SHAPELESS)])
def test_the_models_refuse_what_breaks_the_protocol(frame: Frame) -> None:
    with pytest.raises(ValidationError):
        read_server_frame(orjson.dumps(frame))
