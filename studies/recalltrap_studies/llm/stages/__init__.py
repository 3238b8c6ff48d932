"""What a node does, one module for each stage."""
