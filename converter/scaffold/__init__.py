"""From the graph of a Keras model to readable PyTorch source that loads its converted weights."""
