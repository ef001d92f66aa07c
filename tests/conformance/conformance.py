"""The official Gateway API suite, unmodified, against the cluster that runs: `make conformance`.

Its defaults take three answers in a row as proof, which an even split between two backends gives by luck: with no mesh
at all they pass some of the core tests. `--strict` wants twenty in a row. Strict tells the truth; a report for others
must come from the defaults.
"""

import argparse
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "cluster"))

import builds
import cluster
import layout
import suite_log

HERE = Path(__file__).parent
REPORTS = HERE / "reports"
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
BESIDE = (
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


def run(name: str, options: Sequence[str]) -> str:
    """Run the suite; its report is reports/NAME.yaml, its log is reports/NAME.log and what is returned."""
    cluster.kubectl("delete", "namespace", *NAMESPACES, "--ignore-not-found", "--wait")
    cluster.kubectl("apply", "-f", str(HERE / "base.yaml"))
    REPORTS.mkdir(exist_ok=True)
    log = REPORTS / f"{name}.log"
    with log.open("w") as output:
        subprocess.run(
            [builds.conformance() / "conformance.test", *_constant(REPORTS / f"{name}.yaml"), *options],
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
        "--organization=weft",
        "--project=weft",
        "--url=https://weft.dev",
        "--contact=https://weft.dev",
        f"--version=v{version('weft')}",
        f"--report-output={report}",
    ]


def _options(arguments: argparse.Namespace) -> list[str]:
    features = CORE if arguments.core_only else (*CORE, *EXTENDED, *BESIDE)
    options = list(INFERRED) if arguments.inferred else [f"--supported-features={','.join(features)}"]
    if arguments.namespace_labels:
        options.append(f"--namespace-labels={arguments.namespace_labels}")
    if arguments.strict:
        options.append(f"--timeout-config-overrides={STRICT}")
    return options


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", required=True, help="of the report")
    parser.add_argument("--namespace-labels", default="", help="k=v,…: labels that enrol the suite's namespaces")
    claims = parser.add_mutually_exclusive_group()
    claims.add_argument("--core-only", action="store_true", help="claim the core features alone")
    claims.add_argument("--inferred", action="store_true", help="claim what the XMesh says")
    parser.add_argument("--strict", action="store_true", help="20 answers in a row instead of 3")
    parser.add_argument("--expect", help="NAME,…: the tests that must pass, and no other may; default: all")
    arguments = parser.parse_args()
    log = run(arguments.name, _options(arguments))
    wrong = _judge(log, set(arguments.expect.split(",")) if arguments.expect else None)
    if arguments.strict and suite_log.fewest_answers(log) < CONSECUTIVE:
        wrong.append("the suite was not strict")
    if wrong:
        sys.exit(f"wrong: {', '.join(wrong)}; see {REPORTS / arguments.name}.log")


def _judge(log: str, expected: set[str] | None) -> list[str]:
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
    return sorted(passed ^ (set(found) if expected is None else expected))


if __name__ == "__main__":
    main()
