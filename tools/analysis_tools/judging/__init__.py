"""How good answers are, of what kind the wrong ones are, and a page that shows it."""
