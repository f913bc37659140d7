"""The gateway: holds WebSocket connections, validates and forwards frames, and pushes what is published to it."""
