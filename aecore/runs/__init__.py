"""A run is a folder: its configuration, files, checkpoint and handle."""
