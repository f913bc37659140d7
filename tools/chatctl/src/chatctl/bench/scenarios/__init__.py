"""What is measured: one module for each kind of scenario, each with its targets."""
