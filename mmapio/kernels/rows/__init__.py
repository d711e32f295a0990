"""Rows of an array by their numbers: read, written and added to."""
