"""How many sentences per second does the sentence encoder embed in PyTorch?

The counterpart of `SENTENCES=sentences.jsonl cargo bench --bench chapters -- embedding`, in a virtual environment with
torch and transformers. Sentences are a file of one JSON string per line, the model a folder with `config.json`,
`model.safetensors` and `tokenizer.json`. Tokenizing counts; sentences are sorted by length, as sentence-transformers does,
so that little is padded. Prints the median of some runs for each batch size.

    python3 scripts/bench_encoder.py path/to/all-MiniLM-L6-v2 sentences.jsonl --threads 2 --batch 16,32,64
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import BertModel

WINDOW = 256


@torch.inference_mode()
def embed(model: BertModel, tokenizer: Tokenizer, texts: list[str], batch: int) -> torch.Tensor:
    encodings = tokenizer.encode_batch(texts)
    order = sorted(range(len(texts)), key=lambda i: len(encodings[i].ids))
    vectors = [None] * len(texts)
    for start in range(0, len(order), batch):
        picked = order[start : start + batch]
        longest = max(len(encodings[i].ids) for i in picked)
        ids = torch.zeros(len(picked), longest, dtype=torch.long)
        mask = torch.zeros(len(picked), longest, dtype=torch.long)
        for row, i in enumerate(picked):
            length = len(encodings[i].ids)
            ids[row, :length] = torch.tensor(encodings[i].ids)
            mask[row, :length] = 1
        hidden = model(input_ids=ids, attention_mask=mask).last_hidden_state
        weights = mask.unsqueeze(-1).to(hidden.dtype)
        mean = (hidden * weights).sum(1) / weights.sum(1)
        for i, vector in zip(picked, torch.nn.functional.normalize(mean)):
            vectors[i] = vector
    return torch.stack(vectors)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("sentences", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", default="16,32,64")
    parser.add_argument("--runs", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model = BertModel.from_pretrained(args.model, dtype=torch.float32, add_pooling_layer=False).eval()
    tokenizer = Tokenizer.from_file(str(args.model / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(WINDOW)
    texts = [json.loads(line) for line in args.sentences.read_text(encoding="utf-8").splitlines()]
    tokens = sum(len(encoding.ids) for encoding in tokenizer.encode_batch(texts))
    print(f"torch {torch.__version__}, {args.threads} threads, {len(texts)} sentences, {tokens} tokens")
    embed(model, tokenizer, texts[:100], 32)
    for batch in map(int, args.batch.split(",")):
        seconds = []
        for _ in range(args.runs):
            start = time.perf_counter()
            embed(model, tokenizer, texts, batch)
            seconds.append(time.perf_counter() - start)
        print(f"batches of {batch}: {len(texts) / statistics.median(seconds):.1f} sentences/s")


if __name__ == "__main__":
    main()
