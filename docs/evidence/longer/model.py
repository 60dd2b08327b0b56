# The model and data of the branches' experiment, for longer.
_base_ = '../branches/model.py'
