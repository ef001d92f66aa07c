"""The official Gateway API suite, unmodified, against the cluster that runs: `make conformance`.

Its defaults take three answers in a row as proof, which an even split between two backends gives by luck: with no mesh
at all they pass some of the core tests. `--strict` wants twenty in a row. Strict tells the truth; a report for others
must come from the defaults.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Sequence, Set
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "cluster"))

import builds
import cluster
import implementation
import layout
import suite_log

HERE = Path(__file__).parent
REPORTS = HERE / "reports"
# Logs, and reports of runs that are not for others; not kept in the repository.
RUNS = REPORTS / "runs"
# How many mesh tests a version's suite has: a run that leaves one out is no success.
TESTS = {"1.7": 23, "1.6": 22}
CONSECUTIVE = 20
STRICT = f"RequiredConsecutiveSuccesses:{CONSECUTIVE};MaxTimeToConsistency:15"
# The two mesh profiles' core tests, then all of their extended ones.
CORE = ("Mesh", "HTTPRoute", "GRPCRoute")
EXTENDED = (
    "MeshClusterIPMatching",
    "MeshConsumerRoute",
    "MeshHTTPRouteBackendRequestHeaderModification",
    "MeshHTTPRouteNamedRouteRule",
    "MeshHTTPRouteQueryParamMatching",
    "MeshHTTPRouteRedirectPath",
    "MeshHTTPRouteRedirectPort",
    "MeshHTTPRouteRewritePath",
    "MeshHTTPRouteSchemeRedirect",
)
# No profile has these, and the suite leaves out the mesh tests that need one which is not claimed.
OTHER_FEATURES = (
    "HTTPRoute303RedirectStatusCode",
    "HTTPRoute307RedirectStatusCode",
    "HTTPRoute308RedirectStatusCode",
    "HTTPRouteParentRefPort",
    "HTTPRouteResponseHeaderModification",
)
# What the suite makes. It does not wait for the end of what it deletes, so the next run would find it on its way out.
NAMESPACES = ("gateway-conformance-mesh", "gateway-conformance-mesh-consumer")

# Without features named, the suite takes those of the mesh's own object; nor is there a class of Gateways.
INFERRED = ("--mesh-name=weft", "--gateway-class=")


def run(version: str, manifests: Sequence[Path], report: Path, log: Path, options: Sequence[str]) -> str:
    """Run the suite of a minor version, with these manifests in the cluster; returns its log."""
    cluster.kubectl("delete", "namespace", *NAMESPACES, "--ignore-not-found", "--wait")
    for manifest in manifests:
        cluster.kubectl("apply", f"--filename={manifest}")
    RUNS.mkdir(parents=True, exist_ok=True)
    with log.open("w") as output:
        subprocess.run(
            [builds.conformance(version), *_constant(report), *options],
            env=os.environ | {"KUBECONFIG": str(layout.KUBECONFIG)},
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    return log.read_text()


def _constant(report: Path) -> list[str]:
    return [
        "-test.v",
        "-test.run=^TestConformance$",
        "-test.timeout=60m",
        "--conformance-profiles=MESH-HTTP,MESH-GRPC",
        *implementation.flags(),
        f"--report-output={report}",
    ]


def _options(arguments: argparse.Namespace) -> list[str]:
    features = CORE if arguments.core_only else (*CORE, *EXTENDED, *OTHER_FEATURES)
    options = list(INFERRED) if arguments.inferred else [f"--supported-features={','.join(features)}"]
    if arguments.namespace_labels:
        options.append(f"--namespace-labels={arguments.namespace_labels}")
    if arguments.strict:
        options.append(f"--timeout-config-overrides={STRICT}")
    return options


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gateway-api", choices=tuple(TESTS), default=builds.NEWEST, help="the suite's minor version")
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("--report", metavar="CHANNEL", help="write the report of a channel, in upstream's layout")
    target.add_argument("--name", help="of a run whose report is not for others")
    parser.add_argument("--namespace-labels", default="", help="k=v,…: labels that enrol the suite's namespaces")
    claims = parser.add_mutually_exclusive_group()
    claims.add_argument("--core-only", action="store_true", help="claim the core features alone")
    claims.add_argument("--inferred", action="store_true", help="claim what the XMesh says")
    parser.add_argument("--strict", action="store_true", help="20 answers in a row instead of 3")
    parser.add_argument("--apply", type=Path, action="append", default=[], metavar="FILE", help="what the cluster has")
    expected = parser.add_mutually_exclusive_group()
    expected.add_argument("--expect", help="NAME,…: the tests that must pass, and no other may; default: all")
    expected.add_argument("--expect-failed", default="", help="NAME,…: the tests that must fail, and no other may")
    arguments = parser.parse_args()
    run_name = f"v{arguments.gateway_api}-{arguments.name or arguments.report}"
    log_file, report = RUNS / f"{run_name}.log", RUNS / f"{run_name}.yaml"
    log = run(arguments.gateway_api, arguments.apply, report, log_file, _options(arguments))
    wrong = _judge(log, _expected(arguments, suite_log.verdicts(log).keys()))
    if not arguments.core_only and (count := len(suite_log.verdicts(log))) != TESTS[arguments.gateway_api]:
        wrong.append(f"{count} tests ran instead of {TESTS[arguments.gateway_api]}")
    if arguments.strict and suite_log.fewest_answers(log) < CONSECUTIVE:
        wrong.append("the suite was not strict")
    if wrong:
        sys.exit(f"wrong: {', '.join(wrong)}; see {log_file}")
    if arguments.report:
        _publish(report, implementation.report(REPORTS, arguments.gateway_api, arguments.report))


def _publish(report: Path, target: Path) -> None:
    """Put a report of a success, as it is, where upstream looks for it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(report, target)
    if empty := implementation.missing():
        print(f"not ready to be submitted: {implementation.FILE.name} says no {', '.join(empty)}")


def _expected(arguments: argparse.Namespace, tests: Set[str]) -> Set[str]:
    """The tests of a run that should pass."""
    return set(arguments.expect.split(",")) if arguments.expect else tests - set(arguments.expect_failed.split(","))


def _judge(log: str, expected: Set[str]) -> list[str]:
    """Print what the log says; the tests that should have passed and did not, or the other way round."""
    found = suite_log.verdicts(log)
    for test, verdict in found.items():
        print(f"{verdict} {test}")
    effects = [effect.total_seconds() for effect in suite_log.effects(log)]
    passed = {test for test, verdict in found.items() if verdict == "PASS"}
    print(
        f"{len(passed)} of {len(found)} tests passed, at least {suite_log.fewest_answers(log)} answers for each proof"
    )
    if effects:
        print(
            f"of {len(effects)} Routes the effect was seen after {statistics.median(effects):.2f} s (median), "
            f"{max(effects):.2f} s at most"
        )
    return sorted(passed ^ expected)


if __name__ == "__main__":
    main()
