"""The batched tensor program: what every algorithm's iteration is made of, and its compilation."""
