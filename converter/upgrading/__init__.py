"""From the graph of a Keras model of any generation to a file that Keras 3.15 opens."""
