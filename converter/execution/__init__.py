"""Streaming executor, atomic output, progress events."""
