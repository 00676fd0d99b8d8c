"""Propose a mapping for two models: evidence, an assignment as a whole, rules, and their proof."""
