"""Checkpoints that neither a kill nor a full disk can break."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.fileio import LocalBackend
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner

from cmmasksd.engine.checkpoints.atomic_files import BACKEND, PART, AtomicLocalBackend
from cmmasksd.engine.checkpoints.disk_space import check_free_space
from cmmasksd.registry import HOOKS


@HOOKS.register_module()
class AtomicCheckpointHook(CheckpointHook):
    """mmengine's ``CheckpointHook``, but a file appears whole or not at all, and an old one is dropped only when its
    successor is there.

    Killed at any moment, a run leaves a ``last_checkpoint`` that names a complete file, and a complete best checkpoint
    once there was one. Before the first step the free space is compared with what the run will write. Folders of remote
    storage are left to mmengine.

    Raises:
        NotEnoughSpaceError: before the first step, where not even one checkpoint fits.
        FileWriteError: a checkpoint could not be written; those before it are intact.
    """

    file_backend: Any  # mmengine sets it in before_train

    def before_train(self, runner: Runner) -> None:
        super().before_train(runner)
        if not isinstance(self.file_backend, LocalBackend):
            return
        self.file_backend, self.backend_args = AtomicLocalBackend(), dict(backend=BACKEND)
        # of a resumed run: a new best is then noted in that file, as ever
        self.last_ckpt = runner.message_hub.runtime_info.get('last_ckpt')
        if is_main_process():
            for part in Path(self.out_dir).glob(f'*.pth{PART}'):  # what a killed run was writing
                part.unlink()
            check_free_space(self, runner)

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict[str, Any]) -> None:
        if not isinstance(self.file_backend, AtomicLocalBackend):
            super()._save_checkpoint_with_step(runner, step, meta)
            return
        name = self.filename_tmpl.format(step)
        outdated = self._keep(runner, step)
        self.last_ckpt = str(Path(self.out_dir, name))
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        contents = dict(
            save_optimizer=self.save_optimizer, save_param_scheduler=self.save_param_scheduler, by_epoch=self.by_epoch
        )
        runner.save_checkpoint(self.out_dir, name, meta=meta, backend_args=self.backend_args, **contents, **self.args)
        if is_main_process():
            self.file_backend.put_text(self.last_ckpt, Path(runner.work_dir, 'last_checkpoint'))
            for old in outdated:
                Path(self.out_dir, self.filename_tmpl.format(old)).unlink(missing_ok=True)

    def _keep(self, runner: Runner, step: int) -> list[int]:
        """Adds a step to those that are kept; returns the ones that have to go."""
        if self.max_keep_ckpts <= 0 or step in self.keep_ckpt_ids:
            return []
        outdated = [self.keep_ckpt_ids.popleft()] if len(self.keep_ckpt_ids) == self.max_keep_ckpts else []
        self.keep_ckpt_ids.append(step)
        runner.message_hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))
        return outdated

    def _save_best_checkpoint(self, runner: Runner, metrics: dict[str, float]) -> None:
        """mmengine drops the previous best file before it writes the next one; here it stays until the next is
        there.
        """
        if not isinstance(self.file_backend, AtomicLocalBackend):
            super()._save_best_checkpoint(runner, metrics)
            return
        backend, self.file_backend = self.file_backend, _RemovingLater()
        try:
            super()._save_best_checkpoint(runner, metrics)
        finally:
            later, self.file_backend = self.file_backend, backend
        best = {getattr(self, 'best_ckpt_path', None), *getattr(self, 'best_ckpt_path_dict', {}).values()}
        for path in later.outdated:
            if path not in best:
                backend.remove(path)


class _RemovingLater(AtomicLocalBackend):
    """Notes which files are to be removed."""

    def __init__(self) -> None:
        self.outdated: list[str] = []

    def remove(self, filepath: str | Path) -> None:
        self.outdated.append(str(filepath))
