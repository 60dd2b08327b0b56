"""From a config to a run, for every tool that starts one."""

from __future__ import annotations

import shlex
from collections.abc import MutableMapping
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.runner import Runner

from cmmasksd.checkpoints import register_safe_loader
from cmmasksd.distributed import leave_process_group, prepare_launcher
from cmmasksd.engine.checkpoints.disk_space import check_work_dir
from cmmasksd.engine.checks import check_config, check_run
from cmmasksd.engine.checks.config import LOADERS
from cmmasksd.engine.checks.spans import listed
from cmmasksd.memory import keep_freed_memory

OF_WORKERS = ('persistent_workers', 'prefetch_factor', 'multiprocessing_context')  # torch refuses them without workers


def prepare_config(cfg: Config) -> None:
    """Checks what can be checked before anything is built, and leaves out settings that mean nothing: those of workers
    where a loader of train, val or test has none, ``pin_memory`` where there is no GPU, and the end of a scheduler that
    is None. ``cfg`` is changed.

    Raises:
        ConfigError: a setting that cannot be.
    """
    check_config(cfg)
    for loader in (cfg.get(name) for name in LOADERS):
        if not isinstance(loader, MutableMapping):
            continue
        if not loader.get('num_workers', 0):
            for setting in OF_WORKERS:
                loader.pop(setting, None)
        if not torch.cuda.is_available():  # torch would only warn
            loader.pop('pin_memory', None)
    for _, _, scheduler in listed(cfg.get('param_scheduler')):
        if scheduler.get('end', 0) is None:  # the run's end, by mmengine's default; --cfg-options cannot leave it out
            del scheduler['end']


def build_runner(cfg: Config) -> Runner:
    """The Runner of a config, after everything that has to come before it: checks, the work dir, safe reading of
    checkpoints, the process group.

    Raises:
        ConfigError: a setting that cannot be.
        WorkDirError: nothing can be written in ``cfg.work_dir``.
    """
    prepare_config(cfg)
    check_work_dir(cfg.work_dir)
    register_safe_loader()
    keep_freed_memory()
    prepare_launcher(cfg, cfg.get('launcher', 'none'))
    return Runner.from_cfg(cfg)


def train(cfg: Config) -> None:
    """Trains the model of a config, from its start or, by ``cfg.resume``, from a checkpoint.

    Raises:
        ConfigError: settings that cannot be or that contradict one another; before the first step.
    """
    runner = build_runner(cfg)
    check_run(runner)
    runner.train()
    _tell_next(Path(runner.work_dir))
    leave_process_group()


def _tell_next(work_dir: Path) -> None:
    """What can be done with the model now."""
    found = sorted(work_dir.glob('best_*.pth'), key=lambda path: path.stat().st_mtime)
    if found and is_main_process():
        print(f'Next: cmmasksd web --weights {shlex.quote(str(found[-1]))}')
