"""Scores that several scripts share."""


def f1(found, human, tolerance=40):
    """F1 of boundaries, both ascending, each matched with at most one of the other side that is no farther, as src/eval/metrics.rs has it."""
    i = j = matched = 0
    while i < len(found) and j < len(human):
        apart = found[i] - human[j]
        if abs(apart) <= tolerance:
            matched, i, j = matched + 1, i + 1, j + 1
        elif apart < 0:
            i += 1
        else:
            j += 1
    return 2 * matched / max(1, len(found) + len(human))
