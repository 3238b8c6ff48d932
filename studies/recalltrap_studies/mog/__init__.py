"""The mixture-of-Gaussians study of arXiv 2509.23667, as one batched tensor program."""
