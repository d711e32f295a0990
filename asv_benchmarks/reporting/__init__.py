"""Figures beside those of peers: targets, tables, and the page of all of them."""
