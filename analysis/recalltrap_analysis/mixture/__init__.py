"""What mixture studies alone have."""
