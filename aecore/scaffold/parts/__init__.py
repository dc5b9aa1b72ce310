"""Templates: one worked method for each hook, of which `aecore plugins new` makes a plugin.

They are read as text, never imported by aecore, and hold to one layout: the docstring says what the
method does and, in TOML, what its plugin.toml provides and requires and why a hook comes with
another; then imports, the class, `method`, and tests, which become the plugin's.
"""
