"""From a trained PyTorch model to one quantised ONNX graph and a bundle."""
