"""Arguments in, one call of the API, rendering out; no decisions."""
