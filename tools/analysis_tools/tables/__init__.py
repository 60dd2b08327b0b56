"""The paper's tables as runs: which rows there are, their trainings and evaluations, and ours beside the paper's."""
