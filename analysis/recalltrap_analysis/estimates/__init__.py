"""What a run says: the order effect, where it comes from, and what it lacks."""
