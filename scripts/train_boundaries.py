"""Trains the boundary model: how likely a chapter begins with a sentence (src/chapters/boundary.rs).

It reads what the program writes of documents that people have divided into chapters:

    chapterize eval --signs signs.safetensors talks.jsonl meetings.jsonl

that is, for every place where a chapter can begin, the embedding of the sentence there and signs (src/chapters/signs.rs), and where
people's chapters begin. Several heads, each with a seed of its own, are averaged. The loss is the cross-entropy of a softmax over the places
of a document: which places, not how many, so that a document with fifty short chapters teaches as much as one with five long ones. Signs of
speakers, times and punctuation are dropped at random, each kind for a whole document, so that the model does without; and documents can be
given once more as captions or sentence by sentence (scripts/vary_documents.py).

    python scripts/train_boundaries.py signs.safetensors --out models/boundaries.safetensors

prints for documents held out (by source; see KEPT) how many of people's boundaries are among as many highest scores, no two
within 100 words. Needs torch, safetensors and numpy.
"""

import argparse
import math
import random

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from scores import f1

# Talks kept for evaluation, by where they were given; recorded standups and half of the meetings are kept by file.
KEPT = ("stanford", "london", "chaincode", "edgedevplusplus")
# As in src/chapters/signs.rs.
SPEAKERS, TIMES, PUNCTUATION = slice(33, 39), slice(39, 42), slice(42, 45)
DROPPED = 0.25  # chance that one kind of signs is dropped for a document
PROJECTED = 16
WIDTH = 48
KERNEL = 3
DILATIONS = (1, 2, 4)
PLACES = 20  # of the fixture
NEAR = 40  # words within which a place is nearly right
NEARLY = 0.25  # what it is taught to be worth, beside 1


class Head(nn.Module):
    """Embeddings (places, 384) and signs (places, COUNT) to a score each."""

    def __init__(self, signs, mean, deviation):
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("deviation", deviation)
        self.project = nn.Linear(384, PROJECTED)
        self.enter = nn.Linear(PROJECTED + signs, WIDTH)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(WIDTH, WIDTH, KERNEL, padding=dilation, dilation=dilation) for dilation in DILATIONS
        )
        self.leave = nn.Linear(WIDTH, 1)
        self.dropout = nn.Dropout(0.3)

    def forward(self, embeddings, signs):
        signs = ((signs - self.mean) / self.deviation).clamp(-4, 4)
        x = torch.cat([self.project(self.dropout(embeddings)) * 4, self.dropout(signs)], 1)
        x = nn.functional.gelu(self.enter(x))
        for convolution in self.convolutions:
            x = x + nn.functional.gelu(convolution(self.dropout(x).T[None])[0].T)
        return self.leave(self.dropout(x))[:, 0]


class Document:
    def __init__(self, name, tensors):
        self.name = name
        self.embeddings, self.signs = tensors["embeddings"].float(), tensors["signs"].float()
        self.words, human = tensors["words"].flatten(), tensors["human"].flatten()
        self.human = human.nonzero()[:, 0].tolist()
        apart = (self.words[:, None] - self.words[self.human][None]).abs() <= NEAR
        target = torch.where(human > 0, 1.0, NEARLY * apart.any(1).float())
        target[0] = 0  # a chapter always begins there
        self.target = target / target.sum().clamp(min=1e-6)


def load(paths):
    documents = []
    for path in paths:
        parts = {}
        for name, tensor in load_file(path).items():
            document, kind = name.split(".", 1)[1].rsplit(".", 1)
            parts.setdefault(document, {})[kind] = tensor
        documents += [Document(name, parts[name]) for name in sorted(parts) if parts[name]["human"].sum() > 0]
    return documents


def train(documents, seed, args):
    torch.manual_seed(seed)
    draw = random.Random(seed)
    signs = torch.cat([document.signs for document in documents])
    head = Head(signs.shape[1], signs.mean(0), signs.std(0).clamp(min=1e-2))
    optimizer = torch.optim.AdamW(head.parameters(), lr=args.rate, weight_decay=0.05)
    steps = args.epochs * math.ceil(len(documents) / args.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, args.rate, total_steps=steps)
    head.train()
    for _ in range(args.epochs):
        order = draw.sample(documents, len(documents))
        for i in range(0, len(order), args.batch):
            losses = []
            for document in order[i : i + args.batch]:
                signs = document.signs.clone()
                for kind in (SPEAKERS, TIMES, PUNCTUATION):
                    if draw.random() < DROPPED:
                        signs[:, kind] = 0
                scores = head(document.embeddings, signs)
                scores = scores.masked_fill(torch.arange(len(scores)) == 0, -1e4)
                losses.append(-(document.target * torch.log_softmax(scores, 0)).sum())
            torch.stack(losses).mean().backward()
            nn.utils.clip_grad_norm_(head.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
    return head.eval()


@torch.inference_mode()
def score(heads, document):
    scores = torch.stack([head(document.embeddings, document.signs) for head in heads])
    return torch.log_softmax(scores, 1).mean(0).numpy()


def highest(scores, document, apart=100):
    """F1 of as many highest scores as there are people's boundaries."""
    words, chosen = document.words.numpy(), []
    for i in np.argsort(-scores):
        if len(chosen) == len(document.human):
            break
        if i > 0 and all(abs(words[i] - words[j]) >= apart for j in chosen):
            chosen.append(i)
    return f1(sorted(words[chosen]), sorted(words[document.human]))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("signs", nargs="+", help="to train on, but for the talks kept")
    parser.add_argument("--kept", nargs="*", default=[], help="files of which nothing is trained on")
    parser.add_argument("--out", required=True)
    parser.add_argument("--fixture", default="tests/fixtures/boundaries.safetensors", help="what the program's tests compare it with")
    parser.add_argument("--heads", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rate", type=float, default=2e-3)
    args = parser.parse_args()
    documents = load(args.signs)
    sets = {"talks": [d for d in documents if d.name.startswith(KEPT)]} | {path: load([path]) for path in args.kept}
    trained = [d for d in documents if not d.name.startswith(KEPT)]
    print(f"{len(trained)} documents to train on", flush=True)
    heads = []
    for seed in range(args.heads):
        heads.append(train(trained, seed, args))
        means = {name: np.mean([highest(score(heads, d), d) for d in kept]) for name, kept in sets.items() if kept}
        print(f"{len(heads)} heads: " + ", ".join(f"{name} {mean:.3f}" for name, mean in means.items()), flush=True)
    tensors = {f"{i}.{name}": tensor.half().contiguous() for i, head in enumerate(heads) for name, tensor in head.state_dict().items()}
    save_file(tensors, args.out)
    write_fixture(tensors, args.fixture)


def heads_of(tensors):
    """The heads whose weights were saved."""
    heads = []
    for i in range(sum(name.endswith(".mean") for name in tensors)):
        state = {name.split(".", 1)[1]: tensor.float() for name, tensor in tensors.items() if name.startswith(f"{i}.")}
        head = Head(len(state["mean"]), state["mean"], state["deviation"])
        head.load_state_dict(state)
        heads.append(head.eval())
    return heads


def write_fixture(tensors, path):
    """Made-up places and the scores that the weights, as they were saved, give them: what the program is compared with."""
    heads = heads_of(tensors)
    generator = torch.Generator().manual_seed(0)
    embeddings = nn.functional.normalize(torch.randn(PLACES, 384, generator=generator), dim=1)
    signs = torch.randn(PLACES, len(heads[0].mean), generator=generator)
    with torch.inference_mode():
        scores = torch.stack([head(embeddings, signs) for head in heads])
        scores = torch.log_softmax(scores, 1).mean(0) + math.log(PLACES)
    save_file({"embeddings": embeddings, "signs": signs, "scores": scores}, path)


if __name__ == "__main__":
    main()
