"""Corpora: a folder or the built-in toy, read, encoded, cached, and cut into padded batches."""
