"""Models whose weights, gradients and optimiser's state are shared out among the processes of a run."""

from cmmasksd.engine.sharding.saving import save_together
from cmmasksd.engine.sharding.whole import keep_states_whole, local_part
from cmmasksd.engine.sharding.wrapper import FullyShardedModel

__all__ = ['FullyShardedModel', 'keep_states_whole', 'local_part', 'save_together']
