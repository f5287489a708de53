"""Results and references into figures."""

from statistics import fmean


class OrdinalMetric:
    """Accuracy, and how far off the classes are."""

    primary = "accuracy"

    def score(self, results, references):
        pairs = list(zip(results, references, strict=True))
        return {
            "accuracy": fmean(found.label == expected for found, expected in pairs),
            "mae": fmean(abs(float(found.label) - float(expected)) for found, expected in pairs),
        }

    def agreement(self, results, others):
        return fmean(a.label == b.label for a, b in zip(results, others, strict=True))


METRIC = OrdinalMetric()
