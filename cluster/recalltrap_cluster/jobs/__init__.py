"""Studies as jobs of a cluster that is reached by http(s), over Ray's Jobs API."""
