"""SSH on top of a TPM: wire formats, public keys and signatures, and the agent."""
