"""A study: its file, its grid, and the studies that come by name."""
