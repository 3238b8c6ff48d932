"""The ways to align a mixture: `registry` has a record of each, a module of its own its code."""
