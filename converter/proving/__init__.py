"""Prove a mapping: run small models of both sides and record what was seen."""
