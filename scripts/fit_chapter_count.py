"""How many chapters do people make of a text of so many words?

Reads documents with human chapters (one JSON object per line: "utterances" with "text", and "chapters") and prints,
for curves `at_5000 * (words / 5000) ** slope`, the mean |log(curve / people's number)| per file and over files.
`suitable` in src/chapters/mod.rs holds the curve that was chosen.

    python3 scripts/fit_chapter_count.py talks_timed.jsonl talks_untimed.jsonl meetings.jsonl
"""

import json
import math
import statistics
import sys

CHOSEN = (0.3, 10.0)


def load(path):
    documents = []
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            document = json.loads(line)
            words = sum(len(u["text"].split()) for u in document["utterances"])
            if words > 100 and document.get("chapters"):
                documents.append((words, len(document["chapters"])))
    return documents


def errors(sets, slope, at_5000):
    curve = lambda words: at_5000 * (words / 5000) ** slope
    return [statistics.mean(abs(math.log(curve(w) / k)) for w, k in documents) for documents in sets]


def main(paths):
    sets = [load(path) for path in paths]
    for path, documents in zip(paths, sets):
        print(
            f"{path}: {len(documents)} documents, median {statistics.median(w for w, _ in documents):.0f} words, "
            f"{statistics.median(k for _, k in documents):g} chapters"
        )
    grid = [x / 4 for x in range(12, 60)]
    for slope in (0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 1):
        best = min(grid, key=lambda at: statistics.mean(errors(sets, slope, at)))
        show("best", slope, best, errors(sets, slope, best))
    show("chosen", *CHOSEN, errors(sets, *CHOSEN))


def show(label, slope, at_5000, per_set):
    mean = statistics.mean(per_set)
    print(f"{label:6} slope {slope:<4} at 5,000 words {at_5000:<5} error {mean:.3f}  {[round(e, 2) for e in per_set]}")


if __name__ == "__main__":
    main(sys.argv[1:])
