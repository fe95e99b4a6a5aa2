"""Fits how far a report of a quote can be trusted: the weights in src/trust.rs.

models/adapters/judged.jsonl holds reports that the starter wrote of talks and meetings, each judged by reading: 0 says something that
was not said, 1 is true but poor, 2 is good. `signs` are those of src/trust.rs, in its order. The quotes are not in the repository.

    python scripts/fit_trust.py models/adapters/judged.jsonl

prints weights and bias, and in ten-fold cross-validation the area under the curve, also of the doubt alone, and for several thresholds how
many reports pass and how many of those are true.
Needs numpy.
"""

import json
import sys

import numpy as np

RIDGE = 2e-3  # on the weights; keeps signs that are seldom seen small
THRESHOLDS = [0.0, 0.4, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8]
FOLDS = 10
DOUBT = 2  # its place among the signs


def main():
    judged = [json.loads(line) for line in open(sys.argv[1], encoding="utf-8")]
    signs = np.array([report["signs"] for report in judged])
    true = np.array([report["judgement"] > 0 for report in judged], dtype=float)
    good = np.array([report["judgement"] == 2 for report in judged], dtype=float)
    weights, bias = fit(signs, true)
    print("weights", np.round(weights, 2).tolist(), "bias", round(float(bias), 2))
    folds = np.random.default_rng(0).permutation(len(judged)) % FOLDS
    chance = np.zeros(len(judged))
    for fold in range(FOLDS):
        weights, bias = fit(signs[folds != fold], true[folds != fold])
        chance[folds == fold] = logistic(signs[folds == fold] @ weights + bias)
    print(f"area under the curve {area(chance, true):.3f}; of doubt alone {area(-signs[:, DOUBT], true):.3f}")
    print("threshold  pass  true  good")
    for threshold in THRESHOLDS:
        passing = chance >= threshold
        print(f"{threshold:9.2f}  {passing.mean():.2f}  {true[passing].mean():.2f}  {good[passing].mean():.2f}")


def area(score, true):
    """The chance that a true report scores above a false one."""
    rank = np.argsort(np.argsort(score))
    count = true.sum()
    return (rank[true > 0].sum() - count * (count - 1) / 2) / (count * (len(true) - count))


def logistic(x):
    return 1 / (1 + np.exp(-x))


def fit(signs, true):
    """By Newton's method."""
    x = np.column_stack([signs, np.ones(len(signs))])
    ridge = RIDGE * len(x) * np.eye(x.shape[1])
    ridge[-1, -1] = 0
    weights = np.zeros(x.shape[1])
    for _ in range(30):
        chance = logistic(x @ weights)
        gradient = x.T @ (chance - true) + ridge @ weights
        weights -= np.linalg.solve((x.T * (chance * (1 - chance))) @ x + ridge, gradient)
    return weights[:-1], weights[-1]


if __name__ == "__main__":
    main()
