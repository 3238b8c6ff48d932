"""What is concluded from the estimates."""
