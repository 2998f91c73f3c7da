"""Measuring: from networks on a device to a latency table, and from a file to a report."""
