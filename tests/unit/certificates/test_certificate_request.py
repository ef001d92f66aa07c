"""What a request may not have that no API server lets through, or that no library makes any more."""

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from agent.certificates.request import MAX_SECONDS, DeniedError, RequestSpec, Wanted, wanted
from agent.ir.policy import ServiceAccount
from support.apiserver.certificate_requests import BOTH, new_key, request_pem, uri

AGENT = "system:serviceaccount:weft-system:weft-agent"
WEB = "system:serviceaccount:shop:web"
KEY = new_key()
GOOD = request_pem(KEY, uri("shop", "web"))


def judged(pem: bytes, domain: str = "cluster.local", **spec: object) -> Wanted:
    return wanted(RequestSpec(**{"request": pem, "username": WEB, "usages": BOTH} | spec), domain, AGENT)  # type: ignore[arg-type]


def refusal(pem: bytes, **spec: object) -> str:
    with pytest.raises(DeniedError) as caught:
        judged(pem, **spec)
    return str(caught.value)


def changed(pem: bytes, old: bytes, new: bytes) -> bytes:
    """A request with other bytes in its DER."""
    der = x509.load_pem_x509_csr(pem).public_bytes(serialization.Encoding.DER)
    assert old in der
    assert len(old) == len(new)
    made = x509.load_der_x509_csr(der.replace(old, new))
    return made.public_bytes(serialization.Encoding.PEM)


def test_an_account_may_have_a_certificate_of_its_own() -> None:
    found = judged(GOOD)
    assert (found.account, found.node, found.seconds) == (ServiceAccount("shop", "web"), "", 3600)
    assert found.key == KEY.public_key()


@pytest.mark.parametrize(("requested", "seconds"), [(None, 3600), (600, 600), (MAX_SECONDS, 86_400), (10**9, 86_400)])
def test_a_life_has_bounds(requested: int | None, seconds: int) -> None:
    assert judged(GOOD, expiration_seconds=requested).seconds == seconds


def test_a_signature_that_is_not_of_the_key_is_denied() -> None:
    assert refusal(changed(GOOD, b"/sa/web", b"/sa/wex"), username=WEB[:-1] + "x") == (
        "spec.request: is not signed with its key"
    )


def test_sha_1_is_denied() -> None:
    """The identifiers of the algorithms differ by a byte: 1.2.840.113549.1.1.11 and .5."""
    plain = request_pem(rsa.generate_private_key(65537, 2048), uri("shop", "web"), algorithm=hashes.SHA256())
    rsa_sha256 = bytes.fromhex("2a864886f70d01010b")
    assert refusal(changed(plain, rsa_sha256, rsa_sha256[:-1] + b"\5")) == (
        "spec.request: is signed with sha1, and not with SHA-2"
    )


def test_a_large_exponent_is_denied() -> None:
    """A check of such a signature takes as long as the key's owner likes."""
    key = rsa.generate_private_key(65537, 2048)
    numbers = key.private_numbers()
    exponent = 2**1024 + 1
    while True:
        try:
            private = pow(exponent, -1, (numbers.p - 1) * (numbers.q - 1))
            break
        except ValueError:
            exponent += 2
    made = rsa.RSAPrivateNumbers(
        numbers.p,
        numbers.q,
        private,
        rsa.rsa_crt_dmp1(private, numbers.p),
        rsa.rsa_crt_dmq1(private, numbers.q),
        numbers.iqmp,
        rsa.RSAPublicNumbers(exponent, numbers.public_numbers.n),
    )
    pem = request_pem(made.private_key(), uri("shop", "web"))
    assert refusal(pem).startswith("spec.request: has a key that is neither")


@pytest.mark.parametrize("pem", [b"", b"nonsense", GOOD[:-60], GOOD.replace(b"REQUEST", b"X")])
def test_what_is_no_request_is_denied(pem: bytes) -> None:
    assert refusal(pem) == "spec.request: is no PKCS #10 request in PEM"


def test_nothing_is_allowed_without_a_trust_domain() -> None:
    assert "is not the trust domain of the mesh, ''" in refusal(GOOD, domain="")


def test_an_agent_names_one_node() -> None:
    extra = "authentication.kubernetes.io/node-name"
    assert judged(GOOD, username=AGENT, extra={extra: ("n1",)}).node == "n1"
    for nodes in ((), ("n1", "n2"), ("n1,metadata.name=x",)):
        assert f"spec.extra[{extra}]" in refusal(GOOD, username=AGENT, extra={extra: nodes})
    assert f"spec.extra[{extra}]" in refusal(GOOD, username=AGENT)
