"""Trains the starter model's adapter: a chapter's sentences in, two sentences about it and a title out.

The pairs are those of models/adapters/pairs.jsonl, written by hand for this project (document, first and last utterance, title,
summary; the passages themselves are not in the repository), and the human ones of a file of topic segments. Of a passage the model
is shown what it will be shown by the program: some sentences in their order, with a name before each turn. Those that support the
target are among them, so that it learns to say what it has read; the rest are the most central ones.

Needs torch, transformers, peft and gguf; a step of four pairs took 6.5 s on two cores with AVX-512 BF16. The result depends on the versions and
on the machine as all training does; draws are seeded.

    python scripts/train_adapter.py --data FOLDER --model SmolLM2-135M-Instruct.Q4_1.gguf --encoder all-MiniLM-L6-v2 \\
        --out models/adapters/smollm2-135m
"""

import argparse
import json
import math
import random
import re
import time
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer, BertModel

# As in `models/smollm2-135m.toml`.
QUESTION = (
    "Summarize this part of a transcript in two sentences, in the third person. Name who says what. "
    "Use only what is said in it. Then write a title for it."
)
BASE = "HuggingFaceTB/SmolLM2-135M-Instruct"
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
ANONYMOUS = 0.15  # of the passages are shown without names
HELD_OUT = 48  # pairs that are not trained on, to see when to stop


def main():
    args = arguments()
    torch.manual_seed(args.seed)
    draw = random.Random(args.seed)
    tokenizer = AutoTokenizer.from_pretrained(args.model.parent, gguf_file=args.model.name)
    model = AutoModelForCausalLM.from_pretrained(args.model.parent, gguf_file=args.model.name, dtype=torch.float32)
    pairs = written(args.data, args.pairs) + human(args.segments)
    draw.shuffle(pairs)
    if args.show:
        pairs = pairs[: HELD_OUT + args.show]
    encoder = Encoder(args.encoder)
    examples = [example for pair in pairs if (example := Example.of(pair, encoder, tokenizer, draw))]
    held, trained = examples[:HELD_OUT], examples[HELD_OUT:]
    lengths = sorted(len(e.ids) for e in trained)
    print(f"{len(trained)} pairs to train on, {len(held)} held out; tokens: median {lengths[len(lengths) // 2]}, most {lengths[-1]}")
    for example in trained[: args.show]:
        print(tokenizer.decode(example.ids), "\n")
    if args.show:
        return
    config = LoraConfig(r=args.rank, lora_alpha=2 * args.rank, target_modules=TARGETS, lora_dropout=0.0, task_type="CAUSAL_LM")
    model = get_peft_model(model, config)
    train(model, trained, held, args, draw)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the documents, JSON lines")
    parser.add_argument("--pairs", type=Path, default=Path("models/adapters/pairs.jsonl"))
    parser.add_argument("--segments", type=Path, help="segments with human titles and summaries; by default of --data")
    parser.add_argument("--model", type=Path, required=True, help="GGUF file of SmolLM2-135M-Instruct")
    parser.add_argument("--encoder", type=Path, required=True, help="folder of all-MiniLM-L6-v2")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--epochs", type=float, default=2)
    parser.add_argument("--stop", type=int, help="stop after so many steps, however many the schedule is for")
    parser.add_argument("--rate", type=float, default=4e-4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show", type=int, default=0, help="print so many examples, and train nothing")
    args = parser.parse_args()
    args.segments = args.segments or args.data / "qmsum_train_segments.jsonl"
    return args


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def written(folder, path):
    """Pairs with the utterances of their passages, from whichever file of the folder holds the document."""
    wanted = lines(path)
    names = {pair["document"] for pair in wanted}
    documents = {}
    for file in sorted(folder.glob("*.jsonl")):
        for document in lines(file):
            if document["id"] in names:
                documents[document["id"]] = document["utterances"]
    return [
        {**pair, "utterances": documents[pair["document"]][pair["first"] : pair["last"] + 1], "human": False} for pair in wanted
    ]


def human(path):
    return [{**segment, "human": True} for segment in lines(path)]


class Encoder:
    """Sentence embeddings, as the program computes them."""

    def __init__(self, folder):
        self.model = BertModel.from_pretrained(folder, add_pooling_layer=False).eval()
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.enable_padding()
        self.tokenizer.enable_truncation(256)

    @torch.inference_mode()
    def __call__(self, texts):
        # By length, so that little is padded.
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        vectors = []
        for start in range(0, len(texts), 64):
            encoded = self.tokenizer.encode_batch([texts[i] for i in order[start : start + 64]])
            ids = torch.tensor([e.ids for e in encoded])
            mask = torch.tensor([e.attention_mask for e in encoded])
            hidden = self.model(input_ids=ids, attention_mask=mask).last_hidden_state
            mask = mask.unsqueeze(-1)
            vectors.append(torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1)))
        return torch.cat(vectors)[torch.tensor(order).argsort()]


class Example:
    """Token ids of prompt and answer, and where the answer begins."""

    def __init__(self, ids, start):
        self.ids, self.start = ids, start

    @classmethod
    def of(cls, pair, encoder, tokenizer, draw):
        sentences = [
            (utterance.get("speaker"), sentence)
            for utterance in pair["utterances"]
            for sentence in re.split(r"(?<=[.?!])\s+", utterance["text"].strip())
            if sentence
        ]
        said = [text for _, text in sentences]
        target = re.split(r"(?<=[.!])\s+", pair["summary"].strip())
        vectors = encoder(said + target)
        vectors, wanted = vectors[: len(said)], vectors[len(said) :]
        if pair["human"]:
            target, wanted = supported(target, wanted, said, sentences, vectors)
        if len(target) < 2:
            return None
        room = draw.choice([160, 250, 350, 450, 550])
        costs = [len(tokenizer.encode(text, add_special_tokens=False)) + 1 for text in said]
        chosen = material(vectors, wanted, costs, room)
        names = draw.random() >= ANONYMOUS or mentions(target, sentences)
        prompt = tokenizer.apply_chat_template(
            [
                {"role": "system", "content": QUESTION},
                {"role": "user", "content": source(sentences, chosen, names)},
            ],
            tokenize=False,
            add_generation_prompt=True,
        )
        answer = f"{' '.join(target)}\nTitle: {pair['title'].strip()}"
        before = tokenizer.encode(prompt, add_special_tokens=False)
        after = tokenizer.encode(answer + "<|im_end|>", add_special_tokens=False)
        return cls(before + after, len(before))


def stems(text):
    return {word[:5] for word in re.findall(r"[a-z0-9]+", text.lower())}


def supported(target, wanted, said, sentences, vectors):
    """The two sentences of a human summary that the passage supports best: every name and number occurs in it."""
    known = stems(" ".join(said + [name or "" for name, _ in sentences]))
    support = (wanted @ vectors.T).max(1).values

    def holds(sentence):
        rest = re.findall(r"(?<=\s)[A-Z][A-Za-z]+|\d+", sentence)
        return all(stems(word) <= known for word in rest) and 6 <= len(sentence.split()) <= 40

    kept = sorted((i for i, sentence in enumerate(target) if holds(sentence)), key=lambda i: -support[i])[:2]
    return [target[i] for i in sorted(kept)], wanted[sorted(kept)]


def mentions(target, sentences):
    names = {name for name, _ in sentences if name}
    return any(part in " ".join(target) for name in names for part in name.split())


def material(vectors, wanted, costs, room):
    """Sentences that support the target, two for each of its own, then central ones that do not repeat those chosen."""
    weights = torch.tensor(costs, dtype=torch.float32).clamp(max=40)
    focus = torch.nn.functional.normalize((vectors * weights[:, None]).sum(0), dim=0)
    brief = (weights / 10).clamp(max=1)
    worth = (vectors @ focus) * (0.6 + 0.4 * brief)
    order = []
    for similar in wanted @ vectors.T:
        order += (similar * (0.6 + 0.4 * brief)).topk(min(2, len(costs))).indices.tolist()
    likeness = torch.zeros(len(costs))
    chosen = []

    def take(i):
        nonlocal room
        if i in chosen or costs[i] > room:
            return
        room -= costs[i]
        chosen.append(i)
        likeness.copy_(torch.maximum(likeness, vectors @ vectors[i]))

    for i in order:
        take(i)
    open_ = set(range(len(costs))) - set(chosen)
    while open_:
        best = max(open_, key=lambda i: worth[i] - 0.4 * likeness[i])
        open_.remove(best)
        take(best)
    return sorted(chosen) or [min(range(len(costs)), key=costs.__getitem__)]


def source(sentences, chosen, names):
    """As `Style::source` writes it: a line per turn, with its speaker."""
    text, speaker = "", None
    for i in chosen:
        name, sentence = sentences[i]
        if names and name and name != speaker:
            speaker = name
            text += f"\n{name}:"
        text += f" {sentence}"
    return text.strip()


def batches(examples, size, draw):
    """Of about one length each, in a random order."""
    order = sorted(draw.sample(examples, len(examples)), key=lambda e: len(e.ids) // 32)
    groups = [order[i : i + size] for i in range(0, len(order), size)]
    draw.shuffle(groups)
    return groups


def loss(model, group):
    """Mean over the tokens of the answers; only their logits are computed."""
    longest = max(len(example.ids) for example in group)
    ids = torch.zeros(len(group), longest, dtype=torch.long)
    mask = torch.zeros(len(group), longest, dtype=torch.long)
    labels = torch.full((len(group), longest), -100)
    for row, example in enumerate(group):
        ids[row, : len(example.ids)] = torch.tensor(example.ids)
        mask[row, : len(example.ids)] = 1
        labels[row, example.start : len(example.ids)] = torch.tensor(example.ids[example.start :])
    base = model.get_base_model()
    with torch.autocast("cpu", torch.bfloat16):
        hidden = base.model(input_ids=ids, attention_mask=mask).last_hidden_state
        labels = labels[:, 1:]
        asked = labels != -100
        logits = base.lm_head(hidden[:, :-1][asked])
    return torch.nn.functional.cross_entropy(logits.float(), labels[asked])


def train(model, trained, held, args, draw):
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=args.rate, weight_decay=0.01, betas=(0.9, 0.99))
    steps = math.ceil(args.epochs * math.ceil(len(trained) / args.batch))
    warm = max(1, steps // 20)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warm, 0.03 + 0.97 * 0.5 * (1 + math.cos(math.pi * step / steps)))
    )
    began, step, recent = time.time(), 0, []
    last = min(steps, args.stop or steps)
    while step < last:
        for group in batches(trained, args.batch, draw):
            if step == last:
                break
            value = loss(model, group)
            value.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
            step += 1
            recent.append(value.item())
            if step % 25 == 0 or step == last:
                print(f"step {step} of {steps}: loss {sum(recent) / len(recent):.3f}, {time.time() - began:.0f} s", flush=True)
                recent = []
            if step % 150 == 0 or step == last:
                with torch.inference_mode():
                    values = [loss(model, held[i : i + 8]).item() for i in range(0, len(held), 8)]
                print(f"step {step}: held out {sum(values) / len(values):.3f}", flush=True)
                save(model, args.out)
    save(model, args.out)


def save(model, folder):
    """In the layout of PEFT, in 16 bits."""
    model.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    config = folder / "adapter_config.json"
    told = json.loads(config.read_text(encoding="utf-8"))
    config.write_text(json.dumps(told | {"base_model_name_or_path": BASE}, indent=1) + "\n", encoding="utf-8")
    file = folder / "adapter_model.safetensors"
    tensors = {name: tensor.to(torch.float16) for name, tensor in load_file(file).items()}
    save_file(tensors, file, metadata={"format": "pt"})


if __name__ == "__main__":
    main()
