"""What the generators do: one module for each kind of load."""
