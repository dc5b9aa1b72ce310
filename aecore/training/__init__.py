"""Training: phases, optimisers, exact resume."""
