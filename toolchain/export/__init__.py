"""From a graph or a trained module to a file that a phone runs, and the proof that it is right."""
