"""Every kernel x layout x dtype x size, beside the best of what can do the same work."""
