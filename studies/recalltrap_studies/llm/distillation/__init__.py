"""How a student learns from its teacher: one record for each way."""
