"""What a Keras configuration says of a model's computation, as data: layers, calls and shapes."""
