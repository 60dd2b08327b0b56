"""Small tokenizers of Hugging Face's kinds, trained on the fly and saved as folders that need no network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

CORPUS = [
    'left zebra',
    'the man in a red shirt who stands behind the table',
    'second person from the right wearing a blue hat',
    'a woman with a dog on the left of the tree',
] * 4


def save(tokenizer: Tokenizer, folder: Path, kind: str = 'PreTrainedTokenizerFast', **special: str) -> str:
    """Writes the folder that AutoTokenizer reads."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / 'tokenizer.json'))
    settings: dict[str, Any] = dict(tokenizer_class=kind, model_max_length=512, **special)
    (folder / 'tokenizer_config.json').write_text(json.dumps(settings))
    return str(folder)


def t5_like(folder: Path, pad: str = '<pad>') -> str:
    """Unigram pieces, as T5's, SigLIP's and Gemma's: <pad> is 0, </s> is 1, and nothing begins a sentence."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ['<pad>', '</s>', '<unk>']
    tokenizer.train_from_iterator(
        CORPUS, trainers.UnigramTrainer(vocab_size=120, special_tokens=special, unk_token='<unk>')
    )
    tokenizer.post_processor = processors.TemplateProcessing(single='$A </s>', special_tokens=[('</s>', 1)])
    return save(tokenizer, folder, pad_token=pad, eos_token='</s>', unk_token='<unk>')


def bert_like(folder: Path) -> str:
    """Word pieces between [CLS] and [SEP]; [PAD] is 0."""
    tokenizer = Tokenizer(models.WordPiece(unk_token='[UNK]'))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]']
    tokenizer.train_from_iterator(CORPUS, trainers.WordPieceTrainer(vocab_size=120, special_tokens=special))
    tokenizer.post_processor = processors.TemplateProcessing(
        single='[CLS] $A [SEP]', special_tokens=[('[CLS]', 2), ('[SEP]', 3)]
    )
    names = dict(pad_token='[PAD]', unk_token='[UNK]', cls_token='[CLS]', sep_token='[SEP]', mask_token='[MASK]')
    return save(tokenizer, folder, **names)


def roberta_like(folder: Path) -> str:
    """Byte pairs between <s>, 0, and </s>, 2; <pad> is 1."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    special = ['<s>', '<pad>', '</s>', '<unk>', '<mask>']
    tokenizer.train_from_iterator(
        CORPUS,
        trainers.BpeTrainer(
            vocab_size=320, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
        ),
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single='<s> $A </s>', special_tokens=[('<s>', 0), ('</s>', 2)]
    )
    names = dict(bos_token='<s>', eos_token='</s>', pad_token='<pad>', unk_token='<unk>', mask_token='<mask>')
    return save(tokenizer, folder, **names)
