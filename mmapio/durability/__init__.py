"""Durability: flush policies, accounts of what is not durable yet, and the background thread."""
