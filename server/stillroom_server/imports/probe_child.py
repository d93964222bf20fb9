"""The process in which an unknown tokenizer is tried; see ``probe``.

python -m stillroom_server.imports.probe_child TOKENIZER_JSON MEMORY_BYTES CPU_SECONDS
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path

# Texts that made some tokenizer fail or crawl: nothing, controls, other scripts, marks and joiners,
# its own special tokens, and long runs on which a careless expression backtracks.
_RUNS = ("a", "x", " ", "\n", "0", ".", "-", "é", "漢", "😀", "\u200d", "\u0301", "aA", "a ", "=!")
NASTY_TEXTS = (
    "",
    " ",
    "\t\r\n",
    "\u0000\u0001\u007f\u0085\ufffd\ufeff",
    "\u202e\u2066\u200b\u200f",
    "Crème brûlée ǅ ﬁ ｆｕｌｌ ²³ ½ ß İ ı",  # noqa: RUF001
    "東京都 서울 ประเทศไทย हिन्दी שָׁלוֹם مرحبا",
    "👩‍👩‍👧‍👦🏳️‍🌈🇫🇷1️⃣",
    "e" + "\u0301" * 200,
    "[CLS] [SEP] [UNK] [PAD] [MASK] <s> </s> <unk> <pad> <|endoftext|> ▁ ## Ġ",
    "<" * 500 + ">" * 500,
    "The quick brown fox, isn't it? $3.50 (50%) user@example.com https://example.com/a?b=c#d",
    *(run * length + "!" for run in _RUNS for length in (33, 3000)),
    "words of a long text " * 3000,
)


def trial(path: Path) -> dict[str, object]:
    """Encodes every text; what ``ProbedTokenizer`` holds, or why it is no tokenizer."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    ids = tokenizer.get_vocab(with_added_tokens=True).values()
    largest = max(ids, default=-1)
    for special in (False, True):
        for text in NASTY_TEXTS:
            found = tokenizer.encode(text, add_special_tokens=special).ids
            if found and max(found) > largest:
                return {"error": f"it gave the id {max(found)}; its largest is {largest}"}
    model = tokenizer.model
    unk_id = None
    if isinstance(getattr(model, "unk_token", None), str):
        unk_id = tokenizer.token_to_id(model.unk_token)
    elif not hasattr(model, "unk_token"):
        unk_id = json.loads(tokenizer.to_str())["model"].get("unk_id")
    return {"vocabulary": len(ids), "model": type(model).__name__, "unk_id": unk_id}


def main(path: str, memory: str, seconds: str) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (int(seconds), int(seconds)))
    resource.setrlimit(resource.RLIMIT_AS, (int(memory), int(memory)))
    try:
        answer = trial(Path(path))
    except Exception as error:
        answer = {"error": str(error)[:300]}
    sys.stdout.write(json.dumps(answer))


if __name__ == "__main__":
    main(*sys.argv[1:])
