"""What a run lacks: cells of its plan, values of its models."""
