"""Trained models as files that other programs run: ONNX, and PyTorch's own."""
