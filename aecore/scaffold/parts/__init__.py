"""One worked method for each hook: `aecore plugins new` puts the chosen ones together.

They are read as text, never imported by aecore. Each module says in its docstring what the method
does, in ``PROVIDES`` and ``REQUIRES`` what its plugin.toml states, and in ``BECAUSE`` why a hook
comes with another; its class becomes the plugin's, its ``test_`` functions become the plugin's
tests.
"""
