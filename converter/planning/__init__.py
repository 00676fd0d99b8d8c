"""Mapping and manifests in; a plan, or every reason why not, out."""
