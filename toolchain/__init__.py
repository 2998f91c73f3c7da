"""Graphs of networks, search spaces and methods, training, export. Knows no phone."""
