"""From an ONNX model to a plan and its weights: what is written as a TFLite file."""
