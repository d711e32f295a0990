"""What `gate.py` is made of: trees of commits, processes that take samples, and the decision."""
