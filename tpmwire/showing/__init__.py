"""Commands, responses and structures for people to read, and for programs.

Everything is read off the declarations: there is no code for a single command.
"""
