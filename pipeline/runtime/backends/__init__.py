"""Inference engines behind one interface: ONNX Runtime, TensorRT, torch."""
