"""Sweeps: plugins x seeds x data x settings, each a run of its own in one folder."""
