"""Running both sides on the same inputs, comparing, and the report."""
