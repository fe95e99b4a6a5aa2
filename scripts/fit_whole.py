"""Fits which sentences stand for a whole recording: the weights in src/gist.rs and src/opening.rs.

models/adapters/whole_judged.jsonl holds sentences of 52 recordings' chapter summaries, judged by reading: 0 does not belong into three sentences on
the whole recording, 1 may, 2 is what an editor would choose. And (`beginning`) sentences from the beginning of the same recordings: 0 does not tell a
newcomer what it is about, 1 tells it in part, 2 names its subject. `signs` are those of src/gist.rs and src/opening.rs, in their order. The sentences
themselves, of which many are phrases of recordings, are not in the repository; judged_recordings.json (`wholes_fitted`) names the recordings.

    python scripts/fit_whole.py models/adapters/whole_judged.jsonl

prints weights; and in ten-fold cross-validation over recordings what is chosen with them, with each sign left out, and by chance. Needs numpy.
"""

import collections
import json
import sys

import numpy as np

RIDGE = 5  # on the weights of standardised signs
FOLDS = 10
SUMMARY, POINTS = 2, 5  # sentences of chapters in a summary of the whole, and at most as key points
LEAST, LEAST_OPENING = 0.5, 0.7  # the value of a key point, and of an opening
SIGNS = ["good", "relevance", "agreement", "words"]
SIGNS_OF_BEGINNINGS = ["announcement", "centrality", "place"]


def main():
    judged = [json.loads(line) for line in open(sys.argv[1], encoding="utf-8")]
    count = max(row["recording"] for row in judged) + 1
    folds = np.random.default_rng(0).permutation(count) % FOLDS
    of_chapters = Rows([row for row in judged if not row.get("beginning")], folds)
    beginnings = Rows([row for row in judged if row.get("beginning")], folds)
    print("src/gist.rs   ", of_chapters.weights())
    print("src/opening.rs", beginnings.weights())
    print(f"\n{len(of_chapters.signs)} sentences of chapters' summaries\n{'chosen':22} in the summary    key points")
    print(f"{'':22} 0    1    2        n    0    1    2")
    for name, value in of_chapters.ways(SIGNS):
        summary, points = choose(of_chapters, value)
        print(f"{name:22} {shares(summary)}   {len(points):4} {shares(points)}")
    print(f"\n{len(beginnings.signs)} sentences of beginnings\n{'chosen':22}    n    0    1    2")
    for name, value in beginnings.ways(SIGNS_OF_BEGINNINGS):
        best = [max(own, key=lambda i: value[i]) for own in beginnings.recordings.values()]
        best = [i for i in best if value[i] >= LEAST_OPENING] if name != "by chance" else best
        print(f"{name:22} {len(best):4} {shares(beginnings.judgement[best])}")


class Rows:
    def __init__(self, rows, folds):
        self.signs = np.array([row["signs"] for row in rows])
        self.judgement = np.array([row["judgement"] for row in rows])
        self.chapters = [row.get("chapter") for row in rows]
        self.folds = folds[[row["recording"] for row in rows]]
        self.recordings = collections.defaultdict(list)
        for i, row in enumerate(rows):
            self.recordings[row["recording"]].append(i)

    def weights(self):
        weights, bias = fit(self.signs, self.judgement)
        return np.round(weights, 3).tolist(), "and", round(float(bias), 3)

    def ways(self, names):
        """How the sentences can be valued: a name and a value for each."""
        every = list(range(len(names)))
        yield "with all signs", self.value(every)
        for sign, name in enumerate(names):
            yield f"without {name}", self.value([other for other in every if other != sign])
        yield "by chance", np.random.default_rng(1).random(len(self.signs)) + LEAST

    def value(self, kept):
        value = np.zeros(len(self.signs))
        for fold in range(FOLDS):
            inside = self.folds != fold
            weights, bias = fit(self.signs[inside][:, kept], self.judgement[inside])
            value[~inside] = self.signs[~inside][:, kept] @ weights + bias
        return value


def choose(rows, value):
    """Judgements of what stands in summaries, and of key points: the best, one of a chapter."""
    summary, points = [], []
    for own in rows.recordings.values():
        own = sorted(own, key=lambda i: -value[i])
        first = one_of_a_chapter(rows, own)[:SUMMARY]
        rest = one_of_a_chapter(rows, [i for i in own if i not in first and value[i] >= LEAST])
        chapters = len({rows.chapters[i] for i in own})
        summary += first
        points += rest[: min(POINTS, chapters // 2)]
    return rows.judgement[summary], rows.judgement[points]


def one_of_a_chapter(rows, own):
    taken = {}
    for i in own:
        taken.setdefault(rows.chapters[i], i)
    return list(taken.values())


def shares(judgements):
    return " ".join(f"{float(np.mean(judgements == grade)):.2f}" for grade in range(3))


def fit(signs, judgement):
    """Linear regression with a ridge (Hoerl and Kennard 1970): the weights of the signs as they are, and what is added."""
    mean, scale = signs.mean(0), signs.std(0) + 1e-9
    x = (signs - mean) / scale
    weights = np.linalg.solve(x.T @ x + RIDGE * np.eye(x.shape[1]), x.T @ (judgement - judgement.mean())) / scale
    return weights, judgement.mean() - mean @ weights


if __name__ == "__main__":
    main()
