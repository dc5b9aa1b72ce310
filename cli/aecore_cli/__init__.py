"""The command line of aecore: a command parses, calls one function of the core, and prints."""
