"""From a checkpoint to policy.onnx and TensorRT engines."""
