"""One batch learnt by heart: what cannot do that will not learn a data set either."""
