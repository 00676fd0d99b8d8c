"""Weightferry: move trained weights between Keras, PyTorch, safetensors and ONNX, and prove it."""
