"""Trains the starter model's adapter, in tasks each small enough for a model of this size:

* report: one to three sentences that somebody said in a row, made into one sentence about them, or into "Nothing." where they say
  nothing that a reader would miss or understand;
* title: the sentences that a chapter is most about, as many as fit, and a title for it;
* overview: what the chapters of a recording say, in two sentences.

In two stages. The first teaches all three, with reports of quotes that were chosen at random. The second goes on from it (`--from`), with quotes as
the program chooses them, short ones, of which every third says nothing; and with titles, lest they be forgotten.

The pairs are those in models/adapters, written for this project. Where they rest on recordings that are not in the repository
(`--data`), they name them: document, utterance, word.

Needs torch, transformers, peft and gguf. The result depends on their versions and on the machine, as all training does; draws are
seeded.

    python scripts/train_adapter.py --data FOLDER --model SmolLM2-135M-Instruct.Q4_1.gguf --out first
    python scripts/train_adapter.py --data FOLDER --model SmolLM2-135M-Instruct.Q4_1.gguf --from first --epochs 1 --rate 3e-4 \\
        --out models/adapters/smollm2-135m
"""

import argparse
import collections
import json
import math
import random
import re
import time
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

# As in models/adapters/smollm2-135m/prompt.toml.
REPORT = "Report what is said in one sentence, in the third person."
NOTHING = "Nothing."
TITLE = "Write a title for this chapter:"
OVERVIEW = "Sum up the recording in two sentences from the summaries of its chapters."
BASE = "HuggingFaceTB/SmolLM2-135M-Instruct"
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
HELD_OUT = 150  # examples that are not trained on, by document
# Words of a chapter that are shown for its title; the program shows as many tokens as make about 160.
SHOWN = (70, 170)
# What a sentence counts more that has a word of the title; and the part of the title's words that must then be in sight. Otherwise
# the model would learn to name what it has not read.
TELLING = 0.3
TOLD = 0.65
# Headings of talks, beside the titles written for this project: they are short, and not to drown the others.
HEADINGS = 500
# Titles of the second stage.
REMEMBERED = 500
GENERIC = "intro introduction outline agenda overview background summary conclusion conclusions questions q&a misc motivation".split()
# Talks kept for evaluation, by where they were given.
KEPT = ("stanford", "london", "chaincode", "edgedevplusplus")
STOP = set("""a about above after again all also am an and any are as at be because been before being below between both but by can could did
do does doing down during each few for from further had has have having he her here hers him his how i if in into is it its just like me more
most my no nor not now of off on once one only or other our out over own really same she should so some such than that the their them then
there these they thing things think this those through to too under until up us very was we were what when where which while who why will
with would yeah yes you your okay um uh going got get know right well""".split())


def main():
    args = arguments()
    torch.manual_seed(args.seed)
    draw = random.Random(args.seed)
    tokenizer = AutoTokenizer.from_pretrained(args.model.parent, gguf_file=args.model.name)
    model = AutoModelForCausalLM.from_pretrained(args.model.parent, gguf_file=args.model.name, dtype=torch.float32)
    if args.begun:
        tasks = reports(args, "quotes.jsonl") + titles(args, "titles.jsonl") + draw.sample(titles(args), REMEMBERED)
    else:
        tasks = reports(args, "reports.jsonl") + titles(args) + overviews(args)
    held, trained = by_document(tasks, draw)
    print(f"{len(trained)} to train on, {len(held)} held out", flush=True)
    print(collections.Counter(task.name for task in tasks))
    if args.show:
        for task in trained[: args.show]:
            print(tokenizer.decode(task.example(tokenizer, draw).ids), "\n")
        return
    names = sorted({task.name for task in held})
    held = {name: [task.example(tokenizer, draw) for task in held if task.name == name] for name in names}
    if args.begun:
        model = PeftModel.from_pretrained(model, args.begun, is_trainable=True)
    else:
        config = LoraConfig(r=args.rank, lora_alpha=2 * args.rank, target_modules=TARGETS, lora_dropout=0.0, task_type="CAUSAL_LM")
        model = get_peft_model(model, config)
    train(model, tokenizer, trained, held, args, draw)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the documents, JSON lines")
    parser.add_argument("--pairs", type=Path, default=Path("models/adapters"), help="folder of the pairs")
    parser.add_argument("--segments", type=Path, help="segments with human titles and summaries; by default of --data")
    parser.add_argument("--model", type=Path, required=True, help="GGUF file of SmolLM2-135M-Instruct")
    parser.add_argument("--from", type=Path, dest="begun", metavar="FOLDER", help="adapter of the first stage; makes this the second")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rank", type=int, default=16, help="of the first stage")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--epochs", type=float, default=2)
    parser.add_argument("--rate", type=float, default=4e-4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show", type=int, default=0, help="print so many examples, and train nothing")
    args = parser.parse_args()
    args.segments = args.segments or args.data / "qmsum_train_segments.jsonl"
    return args


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def sentences(text):
    return re.split(r"(?<=[.!?])\s+", text.strip())


class Task:
    """What the model is asked, and how it should answer. `source` draws what it is shown."""

    def __init__(self, name, document, source, answer):
        self.name, self.document, self.source, self.answer = name, document, source, answer

    def example(self, tokenizer, draw):
        source = self.source(draw)
        system, user = {
            "report": (REPORT, source),
            "nothing": (REPORT, source),
            "title": ("", f"{TITLE}\n\n{source}"),
            "overview": (OVERVIEW, source),
        }[self.name]
        # Without one the template puts in its own, here as in the program.
        messages = [{"role": "system", "content": system}] if system else []
        prompt = tokenizer.apply_chat_template(
            [*messages, {"role": "user", "content": user}], tokenize=False, add_generation_prompt=True
        )
        before = tokenizer.encode(prompt, add_special_tokens=False)
        after = tokenizer.encode(self.answer + "<|im_end|>", add_special_tokens=False)
        return Example(before + after, len(before))


class Example:
    """Token ids of prompt and answer, and where the answer begins."""

    def __init__(self, ids, start):
        self.ids, self.start = ids, start


def reports(args, name):
    """What was said, in the pair itself or between two words of a document, and the sentence that reports it, if any does."""
    wanted = lines(args.pairs / name)
    names = {pair["document"] for pair in wanted}
    documents = {pair["document"]: pair["utterances"] for pair in lines(args.pairs / "passages.jsonl")}
    for file in sorted(args.data.glob("*.jsonl")):
        documents |= {document["id"]: document["utterances"] for document in lines(file) if document["id"] in names}
    tasks = []
    for pair in wanted:
        speaker, words = pair.get("speaker"), pair.get("quote")
        if not words:
            speaker, words = said(documents[pair["document"]], pair["from"], pair["to"])
        text = f"{speaker}: {words}" if speaker else words
        name = "report" if pair["text"] else "nothing"
        tasks.append(Task(name, pair["document"], lambda _, text=text: text, pair["text"] or NOTHING))
    return tasks


def said(utterances, begin, end):
    """The speaker and the words between two places, each an utterance and a word of it."""
    words = []
    for i in range(begin[0], end[0] + 1):
        own = utterances[i]["text"].split()
        words += own[begin[1] if i == begin[0] else 0 : end[1] if i == end[0] else len(own)]
    return utterances[begin[0]].get("speaker"), " ".join(words)


def titles(args, name="pairs.jsonl"):
    """Passages and their titles: those of this project; and with the first ones those of people for spans of meetings, and headings of talks."""
    tasks = []

    def add(document, utterances, whole, title):
        passage = Passage(utterances, whole)
        # A small model promises reasons that nobody gives, and the program does not take them.
        if passage.tells(title) and not title.startswith("Why "):
            tasks.append(Task("title", document, lambda draw: passage.shown(title, draw.randint(*SHOWN)), f"Title: {title.strip()}"))

    documents = {}
    for file in sorted(args.data.glob("*.jsonl")):
        documents |= {document["id"]: document for document in lines(file)}
    for pair in lines(args.pairs / name):
        whole = documents[pair["document"]]["utterances"]
        add(pair["document"], whole[pair["first"] : pair["last"] + 1], whole, pair["title"])
    if name != "pairs.jsonl":
        return tasks
    for segment in lines(args.segments):
        add(segment["id"].rsplit("#", 1)[0], segment["utterances"], segment["utterances"], segment["title"])
    for passage in lines(args.pairs / "passages.jsonl"):
        add(passage["document"], passage["utterances"], passage["utterances"], passage["title"])
    pairs, tasks = tasks, []
    for name in sorted(name for name in documents if not name.startswith(KEPT) and "bitcointranscripts" in documents[name].get("source", "")):
        whole, chapters = documents[name]["utterances"], documents[name]["chapters"]
        ends = [chapter["start_utterance"] for chapter in chapters[1:]] + [len(whole)]
        for chapter, end in zip(chapters, ends):
            title = (chapter.get("title") or "").strip()
            content = re.findall(r"[\w'&-]+", title.lower())
            if 2 <= len(content) <= 9 and len(title) <= 70 and not title.endswith("?") and not set(content) & set(GENERIC):
                add(name, whole[chapter["start_utterance"] : end], whole, title)
    return pairs + random.Random(args.seed).sample(tasks, min(HEADINGS, len(tasks)))


class Passage:
    """The sentences of a chapter, each with how much it says of what sets the chapter apart from the rest of its document."""

    def __init__(self, utterances, document):
        self.sentences = [sentence for utterance in utterances for sentence in sentences(utterance["text"]) if sentence]
        everywhere = collections.Counter()
        for utterance in document:
            everywhere.update(set(stems(utterance["text"])))
        vectors = [
            {stem: (1 + math.log(n)) * math.log(1 + len(document) / max(1, everywhere[stem])) for stem, n in collections.Counter(stems(s)).items()}
            for s in self.sentences
        ]
        mean = collections.Counter()
        for vector in vectors:
            mean.update(vector)
        # Short remarks tell little, however much to the point they are.
        brevity = [0.6 + 0.4 * min(1, len(s.split()) / 8) for s in self.sentences]
        self.worth = [cosine(vector, mean) * factor for vector, factor in zip(vectors, brevity)]

    def shown(self, title, words):
        """Sentences that have words of the title first, then the most central ones, as many as make so many words, in their order."""
        named = set(stems(title))
        worth = [own + TELLING * len(named & set(stems(s))) for own, s in zip(self.worth, self.sentences)]
        chosen, left = [], words
        for i in sorted(range(len(worth)), key=lambda i: -worth[i]):
            length = len(self.sentences[i].split())
            if length <= left:
                chosen.append(i)
                left -= length
        return "\n".join(self.sentences[i] for i in sorted(chosen))

    def tells(self, title):
        """Whether most words of the title are among what is shown at least."""
        named, said = set(stems(title)), set(stems(self.shown(title, sum(SHOWN) // 2)))
        return bool(named) and len(named & said) / len(named) >= TOLD


def stems(text):
    """Content words without their endings, roughly."""
    return [re.sub(r"(ing|ed|es|s|'s)$", "", word)[:7] for word in re.findall(r"[\w'-]+", text.lower()) if word not in STOP]


def cosine(a, b):
    length = math.sqrt(sum(x * x for x in a.values()) * sum(x * x for x in b.values()))
    return sum(x * b[key] for key, x in a.items()) / length if length else 0.0


def overviews(args):
    """Recordings, of which the model is shown what the summaries of their passages say."""
    parts = {(pair["document"], pair["first"], pair["last"]): sentences(pair["summary"]) for pair in lines(args.pairs / "pairs.jsonl")}

    def shown(summaries):
        def source(draw):
            both = draw.random() < 0.5
            return "\n".join(" ".join(summary if both else summary[:1]) for summary in summaries)

        return source

    return [
        Task("overview", pair["document"], shown([parts[pair["document"], *part] for part in pair["parts"]]), pair["summary"])
        for pair in lines(args.pairs / "overviews.jsonl")
    ]


def by_document(tasks, draw):
    """Whole documents held out, so that nothing else of theirs is trained on; and the rest."""
    documents = sorted({task.document for task in tasks})
    draw.shuffle(documents)
    held = []
    while len(held) < HELD_OUT:
        name = documents.pop()
        held += [task for task in tasks if task.document == name]
    names = set(documents)
    return held, [task for task in tasks if task.document in names]


def batches(examples, size, draw):
    """Of about one length each, in a random order."""
    order = sorted(draw.sample(examples, len(examples)), key=lambda e: len(e.ids) // 8)
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
    hidden = base.model(input_ids=ids, attention_mask=mask).last_hidden_state
    labels = labels[:, 1:]
    asked = labels != -100
    logits = base.lm_head(hidden[:, :-1][asked])
    return torch.nn.functional.cross_entropy(logits, labels[asked])


def train(model, tokenizer, trained, held, args, draw):
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=args.rate, weight_decay=0.01, betas=(0.9, 0.99))
    steps = math.ceil(args.epochs * math.ceil(len(trained) / args.batch))
    warm = max(1, steps // 20)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warm, 0.03 + 0.97 * 0.5 * (1 + math.cos(math.pi * step / steps)))
    )
    began, step, recent = time.time(), 0, []
    while step < steps:
        examples = [task.example(tokenizer, draw) for task in trained]
        for group in batches(examples, args.batch, draw):
            if step == steps:
                break
            value = loss(model, group)
            value.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
            step += 1
            recent.append(value.item())
            if step % 10 == 0 or step == steps:
                print(f"step {step} of {steps}: loss {sum(recent) / len(recent):.3f}, {time.time() - began:.0f} s", flush=True)
                recent = []
            if step % 150 == 0 or step == steps:
                print(f"step {step}: held out {scores(model, held)}", flush=True)
                save(model, args.out)


@torch.inference_mode()
def scores(model, held):
    def mean(examples):
        values = [loss(model, examples[i : i + 8]).item() for i in range(0, len(examples), 8)]
        return sum(values) / len(values)

    return ", ".join(f"{name} {mean(examples):.3f}" for name, examples in held.items() if examples)


def save(model, folder):
    """In the layout of PEFT, in 16 bits."""
    model.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    config = folder / "adapter_config.json"
    told = json.loads(config.read_text(encoding="utf-8"))
    told["target_modules"] = sorted(told["target_modules"])
    config.write_text(json.dumps(told | {"base_model_name_or_path": BASE}, indent=1) + "\n", encoding="utf-8")
    file = folder / "adapter_model.safetensors"
    tensors = {name: tensor.to(torch.float16) for name, tensor in load_file(file).items()}
    save_file(tensors, file, metadata={"format": "pt"})


if __name__ == "__main__":
    main()
