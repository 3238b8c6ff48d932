"""What language studies alone have."""
