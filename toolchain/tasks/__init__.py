"""Data of tasks: real data, read from the layouts that users have, and drawn data."""
