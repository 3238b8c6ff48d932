"""Which nodes a pack's processes can stand on, how many at once, and when the next may start."""
