"""Statistics of arrays: sums, moments, extremes, histograms, and all of them in one pass."""
