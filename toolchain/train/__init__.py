"""Training: recipes, the full loop with checkpoints, and the short proxy that ranks candidates."""
