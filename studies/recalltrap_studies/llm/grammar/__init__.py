"""The embedded corpus: a probabilistic grammar of English sentences."""
