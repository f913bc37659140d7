"""`asyncapi`: the client protocol as a document for tools."""

import json

from chatctl.asyncapi import document


def asyncapi() -> None:
    """Print the client protocol as an AsyncAPI 3 document, generated from the server's models."""
    print(json.dumps(document(), indent=2, ensure_ascii=False))
