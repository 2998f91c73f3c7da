"""Latency tables: facts about how long operators take on a target. No torch, no phone."""
