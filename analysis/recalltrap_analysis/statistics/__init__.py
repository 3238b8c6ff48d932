"""Points and intervals for comparisons that are paired over seeds."""
