"""The official Gateway API suite, unmodified, against the cluster that runs: `make conformance`.

Its defaults take three answers in a row as proof, which an even split between two backends gives by luck: with no mesh
at all they pass some of the core tests. `--strict` wants twenty in a row. Strict tells the truth; a report for others
must come from the defaults.
"""

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "cluster"))

import builds
import cluster
import layout

HERE = Path(__file__).parent
REPORTS = HERE / "reports"
STRICT = "RequiredConsecutiveSuccesses:20;MaxTimeToConsistency:15"
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


def run(name: str, features: Sequence[str], namespace_labels: str, strict: bool) -> dict[str, str]:
    """Run the suite; its log is reports/NAME.log, its report reports/NAME.yaml. The verdict on each test, by name."""
    cluster.kubectl("apply", "-f", str(HERE / "base.yaml"))
    REPORTS.mkdir(exist_ok=True)
    log = REPORTS / f"{name}.log"
    options = _options(REPORTS / f"{name}.yaml", features) + [f"--namespace-labels={namespace_labels}"] * bool(
        namespace_labels
    )
    with log.open("w") as output:
        subprocess.run(
            [builds.conformance() / "conformance.test", *options, *[f"--timeout-config-overrides={STRICT}"] * strict],
            env=os.environ | {"KUBECONFIG": str(layout.KUBECONFIG)},
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    return verdicts(log.read_text())


def verdicts(log: str) -> dict[str, str]:
    """PASS or FAIL by the name of the test, without those of features that are not claimed.

    Raises ValueError when the suite did not come to run any.
    """
    found = re.findall(r"^    --- (PASS|FAIL): TestConformance/(\w+) ", log, re.MULTILINE)
    if not found:
        raise ValueError(f"the suite ran no test; the end of its log:\n{log[-2000:]}")
    return {test: verdict for verdict, test in sorted(found, key=lambda pair: pair[1])}


def _options(report: Path, features: Sequence[str]) -> list[str]:
    return [
        "-test.v",
        "-test.run=^TestConformance$",
        "-test.timeout=60m",
        "--conformance-profiles=MESH-HTTP,MESH-GRPC",
        f"--supported-features={','.join(features)}",
        "--organization=weft",
        "--project=weft",
        "--url=https://weft.dev",
        "--contact=https://weft.dev",
        f"--version=v{version('weft')}",
        f"--report-output={report}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", required=True, help="of the report")
    parser.add_argument("--namespace-labels", default="", help="k=v,…: labels that enrol the suite's namespaces")
    parser.add_argument("--core-only", action="store_true", help="claim the core features alone")
    parser.add_argument("--strict", action="store_true", help="20 answers in a row instead of 3")
    parser.add_argument("--expect", help="NAME,…: the tests that must pass, and no other may; default: all")
    arguments = parser.parse_args()
    features = CORE if arguments.core_only else (*CORE, *EXTENDED, *BESIDE)
    found = run(arguments.name, features, arguments.namespace_labels, arguments.strict)
    for test, verdict in found.items():
        print(f"{verdict} {test}")
    passed = {test for test, verdict in found.items() if verdict == "PASS"}
    expected = set(arguments.expect.split(",")) if arguments.expect else set(found)
    if passed != expected:
        sys.exit(f"wrong: {', '.join(sorted(passed ^ expected))}; see {REPORTS / arguments.name}.log")


if __name__ == "__main__":
    main()
