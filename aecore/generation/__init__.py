"""Generation: from latents to sentences."""
