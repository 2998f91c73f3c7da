"""Phones: reaching them over ADB and running commands there. Knows no network, no latency."""
