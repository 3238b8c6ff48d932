"""What a run says: severity, where it comes from, and what it lacks."""
