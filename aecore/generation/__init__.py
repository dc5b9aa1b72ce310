"""Generation: from sentences to codes, between codes, and from codes to sentences."""
