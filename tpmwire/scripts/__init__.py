"""The command line: arguments, prompts and exit codes; what they do is in the library."""
