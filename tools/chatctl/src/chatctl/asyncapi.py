"""Writes the client protocol as an AsyncAPI 3 document, from the models of the frames. Owns no shape of its own."""

from collections.abc import Iterable
from typing import Any, Final, get_args

from chatcore.errors import HTTP_STATUS, Close
from chatcore.frames import MAX_FRAME_BYTES, client_frame_types
from chatcore.ids import DEVICE_ID_PATTERN
from chatcore.server_frames import server_frame_types
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

MAX_SERVER_FRAME_BYTES: Final = 256 * 1024
_SCHEMAS: Final = "#/components/schemas/{model}"

_DESCRIPTION: Final = f"""\
One WebSocket per device, one JSON object per text frame, UTF-8, at most {MAX_FRAME_BYTES} bytes from a client and
{MAX_SERVER_FRAME_BYTES} from a server. `docs/protocol.md` says what the frames promise and what a client owes; this
document, generated from the server's own models, says how they look."""


def document() -> dict[str, Any]:
    """Return the whole document, ready to be written as JSON."""
    clients, servers = client_frame_types(), server_frame_types()
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "chat", "version": "1.0.0", "description": _DESCRIPTION},
        "defaultContentType": "application/json",
        "servers": {"gateway": _server()},
        "channels": {"connection": _channel([*clients, *servers])},
        "operations": {
            "fromClient": _operation("receive", clients, "What a client may send, from `welcome` on."),
            "fromServer": _operation("send", servers, "What a server sends."),
        },
        "components": {
            "messages": {model.__name__: _message(model) for model in (*clients, *servers)},
            "schemas": _schemas([*clients, *servers]),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }


def _server() -> dict[str, Any]:
    return {
        "host": "{host}",
        "protocol": "wss",
        "variables": {"host": {"default": "localhost:8080", "description": "Any gateway; none is special."}},
        "security": [{"$ref": "#/components/securitySchemes/token"}],
    }


def _channel(models: Iterable[type[BaseModel]]) -> dict[str, Any]:
    statuses = ", ".join(f"{status} `{refusal}`" for refusal, status in HTTP_STATUS.items())
    closes = ", ".join(f"{close.value} {close.name.lower()}" for close in Close)
    return {
        "address": "/v1/ws",
        "description": (
            "Opened with the subprotocol `chat.v1`; where no header can be set, the token is a second one,"
            f" `bearer.<jwt>`. Refusals before the upgrade: {statuses}. Close codes: {closes}."
        ),
        "messages": {model.__name__: {"$ref": f"#/components/messages/{model.__name__}"} for model in models},
        "bindings": {"ws": {"method": "GET", "query": _query(), "bindingVersion": "0.1.0"}},
    }


def _query() -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["device"],
        "additionalProperties": False,
        "properties": {
            "device": {"type": "string", "pattern": f"^{DEVICE_ID_PATTERN}$", "description": "Made once, and kept."},
            "since": {"type": "string", "description": "The token of the last sync that this device finished."},
        },
    }


def _operation(action: str, models: Iterable[type[BaseModel]], summary: str) -> dict[str, Any]:
    return {
        "action": action,
        "summary": summary,
        "channel": {"$ref": "#/channels/connection"},
        "messages": [{"$ref": f"#/channels/connection/messages/{model.__name__}"} for model in models],
    }


def _message(model: type[BaseModel]) -> dict[str, Any]:
    return {
        "name": get_args(model.model_fields["type"].annotation)[0],
        "summary": (model.__doc__ or "").strip(),
        "payload": {"$ref": _SCHEMAS.format(model=model.__name__)},
    }


def _schemas(models: Iterable[type[BaseModel]]) -> dict[str, Any]:
    """Return the JSON Schemas of the frames and of what is inside them, by name."""
    _, schema = models_json_schema([(model, "validation") for model in models], ref_template=_SCHEMAS)
    definitions: dict[str, Any] = schema["$defs"]
    return definitions
