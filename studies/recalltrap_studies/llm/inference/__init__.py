"""Models that are not trained: drawing responses, and log-probabilities of them."""
