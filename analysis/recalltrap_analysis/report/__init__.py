"""The report: its sections and figures, and the formats that it is written in."""
