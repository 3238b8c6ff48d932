"""What models learn from: token sequences, samples, the corpus."""
