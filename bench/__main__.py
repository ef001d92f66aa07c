"""`python -m bench SUITE`: measure, write results/latest.json and samples.json, and render the report and pages."""

import argparse
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench import kube_proxy, machine, programs, report, rounds
from bench.lab import Lab, started
from bench.ratios import Verdict
from bench.scenarios import SUITES, Suite

COUNTED = "weft L4"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("suite", choices=SUITES)
    parser.add_argument("--rounds", type=int, help="instead of the suite's")
    parser.add_argument("--services", type=int, help="instead of the suite's")
    parser.add_argument("--results", type=Path, default=report.RESULTS, help="another folder: for a trial")
    options = parser.parse_args()
    suite = SUITES[options.suite]
    suite = Suite(options.services or suite.services, options.rounds or suite.rounds, suite.scenarios)
    described = {"suite": options.suite, "services": suite.services, **machine.described()}
    with started("bench", suite.services) as lab:
        results, samples = run(lab, suite)
    results["machine"] = {**described, "load average after": round(os.getloadavg()[0], 1)}
    report.write(options.results / "latest.json", results)
    report.write(options.results / "samples.json", samples)
    report.render(options.results)
    for bar in results["bars"]:
        verdict = {True: "met", False: "MISSED", None: bar["reason"]}[bar["met"]]
        print(f"{bar['name']:75} {bar['value']!s:>6}  bound {bar['bound']}  {verdict}")


def run(lab: Lab, suite: Suite) -> tuple[dict[str, Any], dict[str, rounds.Samples]]:
    """Every scenario, those without the agent last: its verdicts and programs, and the samples."""
    skipped = {way: reason for way, reason in {"kube-proxy": kube_proxy.started(lab)}.items() if reason}
    samples: dict[str, rounds.Samples] = {}
    verdicts: list[Verdict] = []
    counts = {}
    for scenario in suite.scenarios:
        print(f"{scenario.name} ...", file=sys.stderr, flush=True)
        if COUNTED in scenario.ways:
            counts[scenario.name] = programs.per_operation(lab, scenario, COUNTED)
        samples[scenario.name] = rounds.measure(lab, scenario, suite.rounds, skipped)
        verdicts += rounds.verdicts(scenario, samples[scenario.name], skipped)
    verdicts.append(_nothing_runs(counts))
    return {"bars": [asdict(verdict) for verdict in verdicts], "programs": counts, "skipped": skipped}, samples


def _nothing_runs(counts: dict[str, Any]) -> Verdict:
    """No program of weft runs for the packets of an open connection. A count has no control."""
    value = sum(program["runs"] for program in counts["request and response on an open connection"].values())
    name = "L4, runs of weft's programs for a request and response on an open connection"
    return Verdict(name, "runs", bound=0, value=value, met=value == 0, samples=programs.OPERATIONS)


if __name__ == "__main__":
    main()
