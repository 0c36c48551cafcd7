"""TLS: the stacks and what each must offer, whom to trust, and our own keys."""
