"""What tools/capture is made of."""
