"""Why a layer differs: closed lists of hypotheses, each tried by computing the layer with it."""
