"""Which cluster is joined, whether it can be, and the session that a run has there."""
