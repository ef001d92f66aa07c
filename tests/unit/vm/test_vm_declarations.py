"""Kernels and jobs of virtual machines, as they are declared."""

from pathlib import Path

import jobs
import kernels
import pytest
from kernels import DeclarationError

REPOSITORY = Path(__file__).parents[3]
TWO = """
floor = "5.8"
[kernels.a]
package = "linux-a"
default = true
features = { tcx = true }
[kernels.b]
package = "linux-b"
like = "a"
"""


def test_a_kernel_has_the_features_of_the_one_that_it_is_like() -> None:
    found = kernels.declared(TWO)
    assert found["b"].features == {"tcx": True}
    assert [kernel.name for kernel in found.values() if kernel.default] == ["a"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (('package = "linux-a"', ""), r"kernels\.toml: .*package"),
        (("default", "defualt"), r"kernels\.toml: .*defualt"),
        (("tcx = true", 'tcx = "yes"'), r"kernels\.toml: .*tcx|kernels\.toml: Expected `bool`"),
        (("features = { tcx = true }", ""), "kernel a: needs either"),
        (('like = "a"', 'like = "c"'), "kernel b: is like c"),
        (('like = "a"', 'like = "a"\nfeatures = { tcx = false }'), "kernel b: needs either"),
    ],
)
def test_what_is_wrong_with_a_declaration_is_named(changed: tuple[str, str], message: str) -> None:
    assert changed[0] in TWO
    with pytest.raises(DeclarationError, match=message):
        kernels.declared(TWO.replace(*changed))


def test_an_unknown_name_is_answered_with_those_that_there_are() -> None:
    with pytest.raises(DeclarationError, match=r"no kernel 5\.4: there are a, b"):
        kernels.chosen(kernels.declared(TWO), ["a", "5.4"], "kernel")


def test_the_declared_kernels_and_jobs_can_be_read() -> None:
    assert [kernel.name for kernel in kernels.declared().values() if kernel.default] == ["6.1", "6.12"]
    assert {"features", "datapath", "datapath-third"} <= jobs.declared().keys()
    for job in jobs.declared().values():
        assert all((REPOSITORY / test.partition("::")[0]).exists() for test in job.tests)


def test_kernels_are_asked_about_the_same_features() -> None:
    assert len({frozenset(kernel.features) for kernel in kernels.declared().values()}) == 1


def test_a_job_with_an_unknown_key_is_refused() -> None:
    with pytest.raises(DeclarationError, match=r"jobs\.toml: .*hours"):
        jobs.declared('[a]\ntests = ["tests"]\nmemory = 1\nminutes = 1\nhours = 1\n')


def test_every_test_is_in_one_share() -> None:
    names = [f"tests/datapath/test_a.py::test_b[{number}]" for number in range(300)]
    shares = [[name for name in names if jobs.in_share(name, part, 3)] for part in range(3)]
    assert sorted(name for share in shares for name in share) == sorted(names)
    assert all(60 < len(share) < 140 for share in shares)
