"""Putting a published model on the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import HfApi, constants

from cmmasksd.checkpoints.state_dicts import brief
from cmmasksd.published.errors import PublishedError
from cmmasksd.published.folder import read_published
from cmmasksd.published.hub import FAILURES, FILES, explain_refusal


def push_to_hub(
    folder: str | Path,
    repo_id: str,
    private: bool | None = None,
    revision: str | None = None,
    token: str | bool | None = None,
    commit_message: str = 'Publish a model of cmmasksd',
) -> str:
    """Puts a published folder on the hub; the repository is made where there is none.

    Args:
        folder: of a published model; it is read and checked first.
        repo_id: ``owner/model``.
        private: of a new repository; None: as the owner's settings say.
        revision: a branch that is there; None: the main one.
        token: of the hub, with the right to write; None: the one that ``hf auth login`` left.
        commit_message: the commit's first line.

    Returns:
        The commit's address.

    Raises:
        PublishedError: a folder that is no published model, or one sentence that says why it cannot be sent.
    """
    read_published(folder)
    api = HfApi(token=token)
    try:
        api.create_repo(repo_id, private=private, exist_ok=True)
        done = api.upload_folder(
            repo_id=repo_id,
            folder_path=Path(folder).expanduser(),
            revision=revision,
            commit_message=commit_message,
            allow_patterns=FILES,
        )
    except FAILURES as error:
        status = getattr(getattr(error, 'response', None), 'status_code', None)
        why = explain_refusal(error, repo_id, revision)
        if status in (401, 403):
            why = f'{repo_id}: the hub lets you write there with a token of its owner alone: run `hf auth login`'
        reason = brief(' '.join(str(error).split()), 240)
        raise PublishedError(
            why
            or f'{folder} could not be sent to {constants.ENDPOINT}/{repo_id} ({reason}): check the '
            'network, or mend that, and try again'
        ) from error
    return str(done.commit_url)
