"""Benchmarks, which asv finds here."""
