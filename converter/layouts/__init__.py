"""Ready folders: a checkpoint with the configuration that its own library opens it by."""
