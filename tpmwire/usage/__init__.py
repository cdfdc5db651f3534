"""What the parser of a program tells, as completions of shells and as man pages."""
