"""The command line of aecore: a command parses, calls one function of the core, and prints."""

import os

# pydantic looks for plugins of its own in every installed package, and raises where one of them has
# a malformed entry_points.txt; none is used here.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
