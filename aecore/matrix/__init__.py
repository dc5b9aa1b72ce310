"""The compatibility matrix: what companies of plugins do when they are really trained."""
