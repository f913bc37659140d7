"""The local stack: a small supervisor with a private Redis, a private MySQL and the services as its children."""
