"""Whether the pipeline's tokens are those that a text encoder was made for."""

from __future__ import annotations

import torch
from torch import Tensor

from cmmasksd.models.text_encoders.token_roles import TokenRoles
from cmmasksd.structures import TokenizedExamples


def check_length(length: int, what: str, bounds: tuple[int, int]) -> None:
    """Raises ValueError unless a number of tokens lies in a tower's bounds, fewest and most."""
    fewest, most = bounds
    if length > most:
        raise ValueError(
            f"{length} tokens, but {what} has {most} positions: lower the pipeline's TokenizeExpressions.token_length."
        )
    if length < fewest:
        raise ValueError(
            f'{length} tokens, but {what} attends to all of its {most} positions, padding included, and was trained '
            f'so: set TokenizeExpressions.token_length={most}.'
        )


def check_tokenizer(
    examples: TokenizedExamples, what: str, vocab_size: int, roles: TokenRoles, bounds: tuple[int, int]
) -> None:
    """Makes sure that a tower and a tokenizer agree on examples.

    Args:
        examples: what the pipeline makes of a few expressions.
        what: the tower, for messages.
        vocab_size: its word embeddings.
        roles: which tokens it takes for words.
        bounds: the fewest and the most tokens that it takes.

    Raises:
        ValueError: another length, ids that the tower has not, or tokens that are words to one of them alone.
    """
    ids, theirs = torch.from_numpy(examples.input_ids), torch.from_numpy(examples.word_tokens)
    check_length(ids.shape[1], what, bounds)
    mend = "set TokenizeExpressions.tokenizer to the tower's own: its architecture's name, or a folder of its files"
    if examples.vocab_size > vocab_size:
        raise ValueError(f'{examples.name} has {examples.vocab_size} tokens, but {what} knows {vocab_size}: {mend}.')
    if examples.model_vocab_size is not None and examples.model_vocab_size != vocab_size:
        raise ValueError(
            f'{examples.name} is that of a model with {examples.model_vocab_size} tokens, but {what} knows '
            f'{vocab_size}: {mend}.'
        )
    ours = roles.find(ids)[1]
    if not torch.equal(ours, theirs):
        row = int((ours != theirs).any(dim=1).nonzero()[0])
        raise ValueError(
            f'{examples.name} and {what} disagree on which tokens are words: of {_listed(ids[row])} the tokenizer says '
            f'{_listed(ids[row][theirs[row]])}, the tower {_listed(ids[row][ours[row]])}: {mend}.'
        )


def _listed(ids: Tensor) -> str:
    shown = ' '.join(str(each) for each in ids[:12].tolist())
    return f'[{shown}{" ..." if len(ids) > 12 else ""}]'
