"""What a tensor is, without its values: dtype, spec, manifest."""
