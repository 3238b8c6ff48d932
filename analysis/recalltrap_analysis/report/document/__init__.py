"""A report as data: what every section and plot returns, and the writers write."""
