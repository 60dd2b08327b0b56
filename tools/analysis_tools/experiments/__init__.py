"""An experiment: arms that differ in a few settings, trained with the same seeds, compared pair by pair."""
