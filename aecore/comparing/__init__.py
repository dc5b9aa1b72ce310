"""Runs side by side: what lies in a folder, what differs, which figures may be compared."""
