"""Checkpoints that a kill cannot break."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.fileio import LocalBackend
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner

from cmmasksd.registry import HOOKS


@HOOKS.register_module()
class AtomicCheckpointHook(CheckpointHook):
    """mmengine's ``CheckpointHook``, but a file appears whole or not at all, and the last one is dropped only when the next is there.

    Killed at any moment, a run leaves a ``last_checkpoint`` that names a complete file: checkpoints are written under another name and then
    renamed, and so is ``last_checkpoint`` itself. Folders of remote storage are left to mmengine.
    """

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict[str, Any]) -> None:
        if not isinstance(self.file_backend, LocalBackend):
            super()._save_checkpoint_with_step(runner, step, meta)
            return
        name = self.filename_tmpl.format(step)
        file = Path(self.out_dir, name)
        outdated = self._keep(runner, step)
        self.last_ckpt = str(file)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        contents = dict(save_optimizer=self.save_optimizer, save_param_scheduler=self.save_param_scheduler, by_epoch=self.by_epoch)
        runner.save_checkpoint(self.out_dir, f'{name}.part', meta=meta, **contents, **self.args)
        if is_main_process():
            Path(f'{file}.part').replace(file)
            self._point_to(file, Path(runner.work_dir))
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

    @staticmethod
    def _point_to(file: Path, work_dir: Path) -> None:
        part = work_dir / 'last_checkpoint.part'
        part.write_text(str(file))
        part.replace(work_dir / 'last_checkpoint')
