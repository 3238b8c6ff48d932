"""Figures: matplotlib alone. Each function draws the numbers that it is given, computes none."""
