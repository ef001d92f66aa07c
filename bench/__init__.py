"""The benchmarks: scenarios as data, measured in interleaved rounds in a lab, compared as ratios within one run."""
