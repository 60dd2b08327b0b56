"""How well the towers of a segmentor speak of the same things."""
