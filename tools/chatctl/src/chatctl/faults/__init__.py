"""What `verify` breaks, and how it is whole again afterwards. Nothing here knows what a client was promised."""
