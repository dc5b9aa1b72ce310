"""Corpora: from a folder or the built-in toy to padded batches, in one direction: spec, reader, vocabulary, corpus, plan."""
