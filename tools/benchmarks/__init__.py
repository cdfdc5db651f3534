"""What tools/bench measures that needs more than a few lines."""
