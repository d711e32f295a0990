"""Durability: flush policies, ledgers of unwritten ranges, and the background thread."""
