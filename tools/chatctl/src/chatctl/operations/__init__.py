"""What commands do to a running system, and what they find out about it: no printing, no options."""
