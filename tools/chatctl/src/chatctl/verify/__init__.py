"""The history checker: clients on the bare protocol, what they said and saw, and the promises held against it."""
