"""Invertible operations on shapes and on arrays, their laws, and the axis-pattern language."""
