"""Trains what reads the likeliest places again (src/chapters/reread.rs): an adapter of the sentence encoder, and a linear head.

It reads what the program writes of documents that people have divided into chapters, as scripts/train_boundaries.py does:

    python scripts/train_reader.py ENCODER talks.safetensors meetings.safetensors --out models/reader

ENCODER is a folder with all-MiniLM-L6-v2 (config.json, model.safetensors, tokenizer.json). The end of what is before a place and the beginning
of what follows are one text, `[CLS] before [SEP] after [SEP]` (cross-segment attention, Lukasik et al. 2020); the head reads the first token's vector
and the mean of those after the place. The loss is the cross-entropy of a softmax over a place with which a chapter begins and seven of the same
document with which none does: five among those that the boundary model thinks likely, two any. Of each document one of the variants given
(NAME~captions and so on) is drawn in each epoch, and at most twelve of its chapters. The adapter is of low rank (LoRA, Hu et al. 2022),
in the last four of six layers. Needs torch, transformers, tokenizers, safetensors and numpy.
"""

import argparse
import json
import math
import random

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import nn
from transformers import BertModel

from train_boundaries import KEPT, NEAR, Document, heads_of, score

# As in src/chapters/reread.rs.
BEFORE, AFTER = 44, 60
BEGIN, END = 101, 102  # [CLS] and [SEP]
FROZEN = 2  # layers, the first ones
RANK = 16
DROPPED = 0.1
LIKELY, ANY = 5, 2  # places with which nothing begins, beside one with which something does
CHAPTERS = 12  # of a document in an epoch
BATCH = 6  # chapters
# What the program's tests compare it with; written for this.
PLACES = [
    ("So that is how the old clock was mended, and it has run well since then.", "Okay, let us turn to the bread. The baker mills his own flour."),
    ("The baker mills his own flour,", "and he has done so for thirty years, every morning before dawn."),
    ("", "Good morning, everybody, and thank you for coming."),
    ("yeah that makes sense", "thanks ann do you want to go next yeah so this week i was mostly fixing the login page"),
    (
        " ".join(f"The {n} boat was painted twice before it was sold." for n in ["first", "second", "third", "fourth", "fifth", "sixth"]),
        "What happened to the harbour after that? "
        + " ".join(f"In the {n} year a wall was built." for n in ["first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth"]),
    ),
]


class Adapted(nn.Module):
    """A linear layer and what is added to it."""

    def __init__(self, base):
        super().__init__()
        self.base = base
        self.a = nn.Parameter(torch.randn(RANK, base.in_features) / math.sqrt(base.in_features))
        self.b = nn.Parameter(torch.zeros(base.out_features, RANK))
        self.dropout = nn.Dropout(DROPPED)

    def forward(self, x):
        return self.base(x) + nn.functional.linear(nn.functional.linear(self.dropout(x), self.a), self.b)


class Reader(nn.Module):
    """Texts of two parts to a logit each."""

    def __init__(self, encoder):
        super().__init__()
        self.bert = BertModel.from_pretrained(encoder, attn_implementation="sdpa", add_pooling_layer=False)
        self.head = nn.Linear(2 * self.bert.config.hidden_size, 1)
        self.dropout = nn.Dropout(DROPPED)
        for parameter in self.bert.parameters():
            parameter.requires_grad = False
        for layer in self.bert.encoder.layer[FROZEN:]:
            own = layer.attention.self
            own.query, own.key, own.value = Adapted(own.query), Adapted(own.key), Adapted(own.value)
            for part in (layer.attention.output, layer.intermediate, layer.output):
                part.dense = Adapted(part.dense)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, texts, exact=False):
        """`texts`: token ids, and where the part after the place begins."""
        longest = max(len(ids) for ids, _ in texts)
        ids = torch.zeros(len(texts), longest, dtype=torch.long)
        mask, after = torch.zeros(len(texts), longest), torch.zeros(len(texts), longest, 1)
        for row, (own, place) in enumerate(texts):
            ids[row, : len(own)] = torch.tensor(own)
            mask[row, : len(own)] = 1
            after[row, place : len(own)] = 1
        with torch.autocast("cpu", torch.bfloat16, enabled=not exact):
            x = self.bert(input_ids=ids, attention_mask=mask).last_hidden_state.float()
        mean = (x * after).sum(1) / after.sum(1)
        return self.head(self.dropout(torch.cat([x[:, 0], mean], 1)))[:, 0]


def joined(before, after):
    before, after = before[-BEFORE:], after[:AFTER]
    return [BEGIN, *before, END, *after, END], len(before) + 2


class Places:
    """A document's places, and with which of them chapters begin and nothing does."""

    def __init__(self, document, text, tokenizer, heads):
        texts = bytes(text.tolist()).decode().split("\n")
        self.ids = [encoding.ids for encoding in tokenizer.encode_batch(texts, add_special_tokens=False)]
        self.begins = [i for i in document.human if i > 0]
        words = document.words
        apart = (words[:, None] - words[document.human][None]).abs().min(1).values > NEAR
        self.others = [i for i in range(1, len(words)) if apart[i]]
        likely = np.argsort(-score(heads, document)[1:])[: max(80, len(words) // 5)] + 1
        self.likely = sorted(int(i) for i in likely if apart[i])

    def usable(self):
        return len(self.likely) >= LIKELY + ANY

    def around(self, place):
        before, after = [], []
        for ids in reversed(self.ids[:place]):
            if len(before) >= BEFORE:
                break
            before = ids + before
        for ids in self.ids[place:]:
            if len(after) >= AFTER:
                break
            after = after + ids
        return joined(before, after)


def load(paths, tokenizer, heads):
    """The variants of each document by its name."""
    documents = {}
    for path in paths:
        parts = {}
        for name, tensor in load_file(path).items():
            document, kind = name.split(".", 1)[1].rsplit(".", 1)
            parts.setdefault(document, {})[kind] = tensor
        for name in sorted(parts):
            if name.startswith(KEPT) or parts[name]["human"].sum() == 0:
                continue
            places = Places(Document(name, parts[name]), parts[name]["text"], tokenizer, heads)
            if places.usable():
                documents.setdefault(name.split("~")[0], []).append(places)
    return list(documents.values())


def drawn(documents, draw):
    """What an epoch teaches: places with which chapters begin."""
    begins = []
    for variants in documents:
        places = draw.choice(variants)
        begins += [(places, place) for place in draw.sample(places.begins, min(len(places.begins), CHAPTERS))]
    draw.shuffle(begins)
    return begins


def train(documents, args):
    torch.manual_seed(args.seed)
    draw = random.Random(args.seed)
    reader = Reader(args.encoder)
    adapter = [parameter for name, parameter in reader.named_parameters() if parameter.requires_grad and not name.startswith("head")]
    optimizer = torch.optim.AdamW([{"params": adapter, "lr": args.rate}, {"params": reader.head.parameters(), "lr": 4 * args.rate}], weight_decay=0.01)
    steps = args.epochs * (len(drawn(documents, draw)) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, [args.rate, 4 * args.rate], total_steps=steps + args.epochs, pct_start=0.1)
    losses = []
    for epoch in range(args.epochs):
        begins = drawn(documents, draw)
        reader.train()
        for at in range(0, len(begins) - BATCH + 1, BATCH):
            texts = []
            for places, begin in begins[at : at + BATCH]:
                others = draw.sample(places.likely, LIKELY) + draw.sample(places.others, ANY)
                texts += [places.around(place) for place in [begin, *others]]
            logits = reader(texts).view(BATCH, 1 + LIKELY + ANY)
            loss = -torch.log_softmax(logits, 1)[:, 0].mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(adapter, 1.0)
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
            if len(losses) % 50 == 0:
                print(f"epoch {epoch + 1}, step {len(losses)} of {steps}: loss {np.mean(losses[-50:]):.3f}", flush=True)
    return reader.eval()


def save(reader, folder):
    factors = {}
    for name, module in reader.bert.named_modules():
        if isinstance(module, Adapted):
            module.a.data, module.b.data = module.a.data.half().float(), module.b.data.half().float()
            factors[f"base_model.model.{name}.lora_A.weight"] = module.a.data.half().contiguous()
            factors[f"base_model.model.{name}.lora_B.weight"] = module.b.data.half().contiguous()
    save_file(factors, f"{folder}/adapter_model.safetensors")
    save_file({"weight": reader.head.weight.data.flatten(), "bias": reader.head.bias.data}, f"{folder}/head.safetensors")
    config = {
        "peft_type": "LORA",
        "r": RANK,
        "lora_alpha": RANK,
        "base_model_name_or_path": "sentence-transformers/all-MiniLM-L6-v2",
        "target_modules": ["query", "key", "value", "dense"],
    }
    with open(f"{folder}/adapter_config.json", "w", encoding="utf-8") as file:
        file.write(json.dumps(config, indent=2) + "\n")


@torch.inference_mode()
def write_fixture(reader, tokenizer, path):
    lines = []
    for before, after in PLACES:
        before_ids, after_ids = (tokenizer.encode(text, add_special_tokens=False).ids for text in (before, after))
        logit = reader([joined(before_ids, after_ids)], exact=True).item()
        lines.append(json.dumps({"before": before, "after": after, "score": round(logit, 5)}))
    with open(path, "w", encoding="utf-8") as file:
        file.write("[\n " + ",\n ".join(lines) + "\n]\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("encoder", help="folder of all-MiniLM-L6-v2")
    parser.add_argument("signs", nargs="+", help="to train on, but for the talks kept")
    parser.add_argument("--out", required=True, help="folder for the adapter and the head")
    parser.add_argument("--boundaries", default="models/boundaries.safetensors", help="tells which places are likely")
    parser.add_argument("--fixture", default="tests/fixtures/encoder/reader.json", help="what the program's tests compare it with")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    tokenizer = Tokenizer.from_file(f"{args.encoder}/tokenizer.json")
    tokenizer.no_padding()
    tokenizer.no_truncation()
    documents = load(args.signs, tokenizer, heads_of(load_file(args.boundaries)))
    print(f"{len(documents)} documents to train on", flush=True)
    reader = train(documents, args)
    save(reader, args.out)
    write_fixture(reader, tokenizer, args.fixture)


if __name__ == "__main__":
    main()
