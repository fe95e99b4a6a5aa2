"""Fits how far a report of a quote can be trusted: the weights in src/trust.rs, and the probes of the starter's adapter.

models/adapters/judged.jsonl holds reports that the starter wrote of talks and meetings, each judged by reading: 0 says something that
was not said, 1 is true but poor, 2 is good. `signs` are those of src/trust.rs, in its order. judged_states.safetensors holds a line for each: the mean over its tokens of the
hidden states behind layer LAYER (src/engine/probe.rs), as 8-bit integers, and what to multiply each column by. The quotes are not in the repository.

    python scripts/fit_trust.py models/adapters

prints the weights; and in ten-fold cross-validation over recordings the area under the curve, and for several thresholds how many reports pass and how many of
those are true. Writes the probes.
Needs numpy and safetensors.
"""

import json
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

LAYER = 21  # counted from 0; those around it tell nearly as much, the first and the last ones less
PROBES = "smollm2-135m/probes.safetensors"
RIDGE = 2e-3  # on the weights of the signs; keeps those that are seldom seen small
RIDGE_STATES = 0.1  # on the weights of the states, standardised: there are many
THRESHOLDS = [0.0, 0.4, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8]
FOLDS = 10
DOUBT = 2  # its place among the signs


def main():
    folder = Path(sys.argv[1])
    judged = [json.loads(line) for line in (folder / "judged.jsonl").open(encoding="utf-8")]
    signs = np.array([report["signs"] for report in judged])
    judgement = np.array([report["judgement"] for report in judged])
    true, good = (judgement > 0).astype(float), (judgement == 2).astype(float)
    recordings = np.array([report["recording"] for report in judged])
    folds = np.random.default_rng(0).permutation(recordings.max() + 1)[recordings] % FOLDS
    file = load_file(folder / "judged_states.safetensors")
    both = np.column_stack([signs, file["states"] * file["scale"].astype(np.float64)])
    count = signs.shape[1]

    weights, bias = fit(signs, true, count)
    print("signs alone", np.round(weights, 2).tolist(), "bias", round(float(bias), 2))
    fits = [fit(both, wanted, count) for wanted in (true, good)]
    print("beside probes", [np.round(weights[:count], 2).tolist() for weights, _ in fits])
    probes = np.array([[*weights[count:], bias] for weights, bias in fits], dtype=np.float32)
    save_file({"report": probes}, folder / PROBES, metadata={"layer": str(LAYER)})

    def chance(x, wanted):
        found = np.zeros(len(x))
        for fold in range(FOLDS):
            weights, bias = fit(x[folds != fold], wanted[folds != fold], count)
            found[folds == fold] = logistic(x[folds == fold] @ weights + bias)
        return found

    print(f"{len(judged)} reports of {len(set(recordings))} recordings")
    print(f"area under the curve, true: doubt alone {area(-signs[:, DOUBT], true):.3f}")
    for name, x in [("signs", signs), ("signs and probes", both)]:
        truth, goodness = chance(x, true), chance(x, good)
        print(f"{name}: true {area(truth, true):.3f}, good {area(goodness, good):.3f}")
        print("threshold  pass  true  good")
        for threshold in THRESHOLDS:
            passing = truth >= threshold
            print(f"{threshold:9.2f}  {passing.mean():.2f}  {true[passing].mean():.2f}  {good[passing].mean():.2f}")


def area(score, true):
    """The chance that a true report scores above a false one."""
    rank = np.argsort(np.argsort(score))
    count = true.sum()
    return (rank[true > 0].sum() - count * (count - 1) / 2) / (count * (len(true) - count))


def logistic(x):
    return 1 / (1 + np.exp(-x))


def fit(values, true, signs):
    """Logistic regression by Newton's method. The first columns are signs, the others states, which are standardised. Returns weights and bias for values as they are."""
    mean, scale = values.mean(0), values.std(0) + 1e-9
    mean[:signs], scale[:signs] = 0, 1
    x = np.column_stack([(values - mean) / scale, np.ones(len(values))])
    ridge = np.full(x.shape[1], RIDGE_STATES)
    ridge[:signs], ridge[-1] = RIDGE, 0
    ridge = np.diag(ridge * len(x))
    weights = np.zeros(x.shape[1])
    for _ in range(12):
        chance = logistic(x @ weights)
        gradient = x.T @ (chance - true) + ridge @ weights
        weights -= np.linalg.solve((x.T * (chance * (1 - chance))) @ x + ridge, gradient)
    weights, bias = weights[:-1] / scale, weights[-1]
    return weights, bias - mean @ weights


if __name__ == "__main__":
    main()
