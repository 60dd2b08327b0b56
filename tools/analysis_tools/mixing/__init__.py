"""What mixes with what: the parts, and what is tried with each."""
