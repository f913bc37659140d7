"""For people: the local stack, tokens, a terminal chat and administration. No service imports it."""
