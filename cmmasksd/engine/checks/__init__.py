"""Whether a run can do what it was told, asked before its first step."""

from cmmasksd.engine.checks.config import check_config, check_dataloader
from cmmasksd.engine.checks.run import check_loader, check_run
from cmmasksd.engine.checks.schedule import unfinished_warm_ups
from cmmasksd.engine.checks.settings import ConfigError, check_known, check_number, check_whole
from cmmasksd.engine.checks.tokens import check_tokens

__all__ = [
    'ConfigError',
    'check_config',
    'check_dataloader',
    'check_known',
    'check_loader',
    'check_number',
    'check_run',
    'check_tokens',
    'check_whole',
    'unfinished_warm_ups',
]
