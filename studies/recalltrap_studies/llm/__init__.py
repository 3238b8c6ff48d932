"""The language-model study of arXiv 2509.23667: both orderings on the SmolLM2 family."""
