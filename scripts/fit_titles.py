"""Fits how good a proposal for a chapter's title is: the weights in src/title/signs.rs.

models/adapters/titles_judged.jsonl holds proposals for titles of chapters, each judged by reading: 0 is wrong, 1 true but poor, 2 good. `signs`
are those of src/title/signs.rs, in its order. The titles themselves, half of which are phrases of recordings, are not in the repository.

    python scripts/fit_titles.py models/adapters/titles_judged.jsonl

prints the weights; and in ten-fold cross-validation over recordings what is chosen with them, with each sign left out, and by chance.
Needs numpy.
"""

import collections
import json
import sys

import numpy as np

RIDGE = 1e-2  # on the weights of standardised signs
FOLDS = 10
WORTH = np.array([0, 0.5, 2])  # of a wrong title, a poor and a good one: what is chosen shall be good rather than not wrong
SIGNS = ["cover", "agreement", "doubt", "nearest", "rarest", "words", "content", "phrase", "worth", "surprise"]


def main():
    judged = [json.loads(line) for line in open(sys.argv[1], encoding="utf-8")]
    signs = np.array([title["signs"] for title in judged])
    judgement = np.array([title["judgement"] for title in judged])
    chapters = collections.defaultdict(list)
    for i, title in enumerate(judged):
        chapters[title["recording"], title["chapter"]].append(i)
    print("weights", np.round(fit(signs, judgement), 3).tolist())
    recordings = np.array([title["recording"] for title in judged])
    folds = np.random.default_rng(0).permutation(recordings.max() + 1)[recordings] % FOLDS

    def value(kept):
        value = np.zeros(len(judged))
        for fold in range(FOLDS):
            inside = folds != fold
            value[~inside] = signs[~inside][:, kept] @ fit(signs[inside][:, kept], judgement[inside])
        return value

    every = list(range(len(SIGNS)))
    print(f"{len(judged)} titles of {len(chapters)} chapters; good ones for {share(chapters, judgement, judgement, 2):.2f} of the chapters")
    print(f"{'chosen':20} wrong  poor  good")
    report("with all signs", chapters, judgement, value(every))
    for sign, name in enumerate(SIGNS):
        report(f"without {name}", chapters, judgement, value([other for other in every if other != sign]))
    report("by chance", chapters, judgement, np.random.default_rng(1).random(len(judged)))


def report(name, chapters, judgement, value):
    print(f"{name:20}", "  ".join(f"{share(chapters, judgement, value, grade):.2f}" for grade in range(3)))


def share(chapters, judgement, value, grade):
    """The part of the chapters whose proposal of the highest value was judged so."""
    best = [max(members, key=lambda i: value[i]) for members in chapters.values()]
    return float(np.mean(judgement[best] == grade))


def fit(signs, judgement):
    """Linear regression with a ridge, in Hoerl and Kennard's way; the constant is left out, for only chapters' own proposals are compared."""
    worth = WORTH[judgement]
    mean, scale = signs.mean(0), signs.std(0) + 1e-9
    x = (signs - mean) / scale
    ridge = RIDGE * len(x) * np.eye(x.shape[1])
    return np.linalg.solve(x.T @ x + ridge, x.T @ (worth - worth.mean())) / scale


if __name__ == "__main__":
    main()
