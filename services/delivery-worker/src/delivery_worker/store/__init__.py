"""MySQL, the truth: what a batch writes, what a sync reads."""
