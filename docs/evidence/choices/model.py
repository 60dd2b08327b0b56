# The model, data and steps of the branches' experiment.
_base_ = '../branches/model.py'
