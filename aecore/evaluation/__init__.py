"""Evaluation: one protocol for every composition."""
