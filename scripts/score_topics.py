"""How near the topics of --levels 2 come to a person's finer chapters, where documents have both levels (`chapters` and `chapters_fine`).

    python scripts/score_topics.py target/release/chapterize tinyrec_dev.jsonl

Three ways that begin as many parts, of each document and in the mean: chapters and topics (--levels 2), chapters only, as many as both together
(--chapters N), and parts of the same length. F1 of where they begin, within 40 words, the first part left out. The number of chapters is a
person's, that of topics the program's.
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

from scores import f1


def parts(program, transcript, *options):
    """The first cues of what the program finds, chapters and topics."""
    command = [program, "summarize", transcript, "--boundaries-only", "--format", "json", "--quiet", *options]
    summary = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    chapters = summary["chapters"]
    return {part["first_cue"] for chapter in chapters for part in [chapter, *chapter["topics"]]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("program")
    parser.add_argument("documents", nargs="+")
    args = parser.parse_args()
    rows = []
    for path in args.documents:
        for document in map(json.loads, Path(path).read_text(encoding="utf-8").splitlines()):
            if document.get("chapters_fine"):
                rows.append(score(args.program, document))
    if not rows:
        parser.error("no document there has chapters_fine")
    print(f"{'words':>6} {'parts':>5} {'human':>5} {'topics':>7} {'flat':>7} {'equal':>7}")
    for row in rows:
        print("{:>6} {:>5} {:>5} {:>7.2f} {:>7.2f} {:>7.2f}".format(*row))
    mean = [sum(column) / len(rows) for column in zip(*rows)]
    print("mean   {:>5.1f} {:>5.1f} {:>7.2f} {:>7.2f} {:>7.2f}".format(*mean[1:]))


def score(program, document):
    utterances = document["utterances"]
    before = [0]
    for utterance in utterances:
        before.append(before[-1] + len(utterance["text"].split()))
    human = [before[part["start_utterance"]] for part in document["chapters_fine"]]
    human = sorted(place for place in human if place > 0)
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump({"segments": utterances}, file)
        file.flush()
        levels = parts(program, file.name, "--levels", "2", "--chapters", str(len(document["chapters"])))
        flat = parts(program, file.name, "--chapters", str(len(levels)))

    def starts(cues):
        return sorted(before[cue] for cue in cues if before[cue] > 0)

    equal = [before[-1] * k / len(levels) for k in range(1, len(levels))]
    return (before[-1], len(levels), len(human) + 1, *(f1(found, human) for found in (starts(levels), starts(flat), equal)))


if __name__ == "__main__":
    main()
