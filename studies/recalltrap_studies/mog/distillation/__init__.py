"""How a student learns from its teacher: one record for each way, and the tensor code of each."""
