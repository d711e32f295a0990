"""Benchmarks of mmapio, each beside the peer that it is compared with."""
