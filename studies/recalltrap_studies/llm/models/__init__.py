"""Models and tokenizers: shapes, weights, where they come from, where they run."""
