"""Graph passes on onnx-ir, one file each."""
