"""The tests: a regular package, so that a folder of this name among the installed packages (mmsegmentation 1.2.2
brings one) cannot hide it.
"""
