"""Whether a run can do what it was told, asked before its first step."""

from cmmasksd.engine.checks.config import check_config
from cmmasksd.engine.checks.settings import ConfigError

__all__ = ['ConfigError', 'check_config']
