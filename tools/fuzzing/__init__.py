"""What tools/fuzz fuzzes, and from where it begins."""
