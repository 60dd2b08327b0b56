"""Checkpoints that neither a kill nor a full disk can break."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.fileio import LocalBackend, get_file_backend
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner

from cmmasksd.engine.checkpoints.agreement import check_same_start
from cmmasksd.engine.checkpoints.atomic_files import BACKEND, PART, AtomicLocalBackend
from cmmasksd.engine.checkpoints.disk_space import check_free_space
from cmmasksd.engine.checkpoints.own_folder import checkpoint_folder, file_name, find_last
from cmmasksd.engine.checks.settings import check_known
from cmmasksd.engine.sharding import FullyShardedModel, save_together
from cmmasksd.registry import HOOKS
from cmmasksd.work_dirs import LAST


@HOOKS.register_module()
class AtomicCheckpointHook(CheckpointHook):
    """mmengine's ``CheckpointHook``, but a file appears whole or not at all, and an old one is dropped only when its
    successor is there.

    Killed at any moment, a run leaves a ``last_checkpoint`` that names a complete file, and a complete best checkpoint
    once there was one. Before the first step the free space is compared with what the run will write. Checkpoints and
    ``last_checkpoint`` name files without folders: a copied or moved run goes on from its own files, and touches no
    others. Folders of remote storage are left to mmengine.

    Raises:
        ConfigError: a setting that mmengine's hook does not have, and would only meet at the first checkpoint.
        CheckpointError: a run is resumed whose ``last_checkpoint`` names a file that its folder has not, or that not
            all processes find.
        NotEnoughSpaceError: before the first step, where not even one checkpoint fits.
        FileWriteError: a checkpoint could not be written; those before it are intact.
    """

    file_backend: Any  # mmengine sets it in before_train
    best_ckpt_path: str | None

    def __init__(self, *args: Any, **settings: Any) -> None:
        known = inspect.signature(CheckpointHook).parameters.keys() - {'kwargs'}
        check_known(settings, known, 'The checkpoint hook (default_hooks.checkpoint)')
        super().__init__(*args, **settings)

    def before_run(self, runner: Runner) -> None:
        """Tells a resumed run its last checkpoint, the same on all processes; mmengine would take what
        ``last_checkpoint`` holds for a path.
        """
        backend = get_file_backend(self.out_dir or runner.work_dir, backend_args=self.backend_args)
        if runner._resume and runner._load_from is None and isinstance(backend, LocalBackend):
            last = find_last(runner.work_dir, checkpoint_folder(runner.work_dir, self.out_dir))
            runner._load_from = None if last is None else str(last)
        check_same_start(runner)

    def before_train(self, runner: Runner) -> None:
        super().before_train(runner)
        if isinstance(runner.model, FullyShardedModel):
            save_together(runner)
        if not isinstance(self.file_backend, LocalBackend):
            return
        self.file_backend, self.backend_args = AtomicLocalBackend(), dict(backend=BACKEND)
        self._own_what_was_resumed(runner)
        if is_main_process():
            for part in Path(self.out_dir).glob(f'*.pth{PART}'):  # what a killed run was writing
                part.unlink()
            check_free_space(self, runner)

    def _own_what_was_resumed(self, runner: Runner) -> None:
        """The files of a resumed run are those of their names in this run's folder."""
        # where there was a last one, mmengine notes a new best in it
        self.last_ckpt = self._own(runner.message_hub.runtime_info.get('last_ckpt'))
        if hasattr(self, 'best_ckpt_path'):  # where one score is followed; several have a dict
            self.best_ckpt_path = self._own_best(self.best_ckpt_path, runner)
        for key, path in getattr(self, 'best_ckpt_path_dict', {}).items():
            self.best_ckpt_path_dict[key] = self._own_best(path, runner)

    def _own(self, path: str | None) -> str | None:
        return None if path is None else str(Path(self.out_dir, file_name(path)))

    def _own_best(self, path: str | None, runner: Runner) -> str | None:
        own = self._own(path)
        if own is None or Path(own).is_file():
            return own
        runner.logger.warning(
            f'The best checkpoint so far, {Path(own).name}, does not lie in {self.out_dir}: it stays where it is, and '
            'only a better one will be saved here.'
        )
        return None

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Leaves the folders out of what the message hub says of checkpoints."""
        if isinstance(getattr(self, 'file_backend', None), AtomicLocalBackend):
            info = checkpoint['message_hub']['runtime_info']
            for key, value in info.items():
                if (key == 'last_ckpt' or key.startswith('best_ckpt')) and isinstance(value, str):
                    info[key] = file_name(value)

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
            self.file_backend.put_text(name, Path(runner.work_dir, LAST))
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

    def _publish_model(self, runner: Runner, ckpt_path: str | None) -> None:
        """As mmengine does, where there is something to publish."""
        if ckpt_path is not None and self.file_backend.exists(ckpt_path):
            super()._publish_model(runner, ckpt_path)


class _RemovingLater(AtomicLocalBackend):
    """Notes which files are to be removed."""

    def __init__(self) -> None:
        self.outdated: list[str] = []

    def remove(self, filepath: str | Path) -> None:
        self.outdated.append(str(filepath))
