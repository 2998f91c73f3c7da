"""Kinds of tasks: what the loop of search, training and export needs to know of each."""
