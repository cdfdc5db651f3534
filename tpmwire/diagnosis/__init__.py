"""What may be wrong with a TPM, its keys and what is around them, and how to mend it.

Each check is a function from facts to findings; it does no I/O but commands to a Tpm that it is
given.
"""
