"""Graph edits: each takes a network and gives one that computes the same with fewer operations."""
