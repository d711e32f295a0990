"""The gate: trees of commits, processes that take samples, the decision, and trials of it."""
