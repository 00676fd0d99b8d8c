"""One module per kind of file, a registry that sniffs content, and sharding."""
