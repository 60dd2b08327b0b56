"""Published models of the Hugging Face hub: fetching them, and what is said where that fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from huggingface_hub import constants, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    HTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from cmmasksd.checkpoints.reading import first_of_machine
from cmmasksd.checkpoints.state_dicts import brief
from cmmasksd.published.errors import PublishedError

# All that a published model consists of: nothing else of a repository is fetched or sent.
FILES = ['config.json', 'model.safetensors', 'README.md', 'tokenizer/*']
FAILURES = (HTTPError, ValueError, OSError)  # of the hub's client: answers, transport, names and cards, the disk


def fetch_published(
    repo_id: str, revision: str | None = None, token: str | bool | None = None, cache_dir: str | Path | None = None
) -> Path:
    """Fetches a published model of the hub into huggingface_hub's cache, once a machine; without a network, or with
    ``HF_HUB_OFFLINE=1``, what the cache has is taken.

    Args:
        repo_id: ``owner/model``.
        revision: branch, tag or commit; None: the main branch.
        token: of the hub, for private models; None: the one that ``hf auth login`` left.
        cache_dir: None: huggingface_hub's (``HF_HOME``).

    Raises:
        PublishedError: one sentence that says why it cannot be had.
    """
    options: dict[str, Any] = dict(revision=revision, token=token, cache_dir=cache_dir, allow_patterns=FILES)
    try:
        return first_of_machine(lambda: Path(snapshot_download(repo_id, **options)))
    except FAILURES as error:
        raise PublishedError(_explain(error, repo_id, revision)) from error


def explain_refusal(error: Exception, repo_id: str, revision: str | None) -> str | None:
    """What the hub's answer means and what to do, in a sentence; None where it gave no answer of a known kind."""
    if isinstance(error, HFValidationError):
        return f"{repo_id!r:.100} is no folder here and no name of the hub ('owner/model'): check the path or the name"
    if isinstance(error, GatedRepoError):
        page = f'{constants.ENDPOINT}/{repo_id}'
        return f'{repo_id} is given to those who accept its terms: do so on {page}, then run `hf auth login`'
    if isinstance(error, RevisionNotFoundError):
        return (
            f'{repo_id} has no revision {revision!r:.100}: give a branch, tag or commit that it has, or none for main'
        )
    if isinstance(error, RepositoryNotFoundError):
        return (
            f'{repo_id} is no folder here, and the hub has no such model, or keeps it private: check the path or the '
            'name, or log in (`hf auth login`)'
        )
    return None


def _explain(error: Exception, repo_id: str, revision: str | None) -> str:
    elsewhere = f'run `hf download {repo_id} --local-dir FOLDER` where there is a network and give the folder'
    known = explain_refusal(error, repo_id, revision)
    if known is not None:
        return known
    where = f'revision {revision!r} of {repo_id}' if revision else repo_id
    if constants.HF_HUB_OFFLINE and isinstance(error, LocalEntryNotFoundError):
        reason = 'is not in the cache, and HF_HUB_OFFLINE=1 forbids to fetch it: unset that'
    else:
        reason = f'could not be fetched from {constants.ENDPOINT} ({brief(error)}): check the network'
    return f'{where} is no folder here and {reason}, or {elsewhere}'
