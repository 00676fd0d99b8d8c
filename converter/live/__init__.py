"""The same view of a Keras model and of a torch.nn.Module as of a file."""
