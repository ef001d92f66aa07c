"""What a CertificateSigningRequest (certificates.k8s.io/v1) of weft's signer asks for, and whether it may have it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from agent.ir.identity import spiffe_id
from agent.ir.policy import ServiceAccount
from agent.model.limits import NAME
from agent.model.meta import Value

SIGNER = "weft.dev/spiffe"
NODE_NAME = "authentication.kubernetes.io/node-name"
"""The key in `spec.extra` with the node of the requester's Pod: beta, and on, since Kubernetes 1.30."""
ACCOUNT_USER = "system:serviceaccount:"

MAX_REQUEST_BYTES = 16_384
MIN_RSA_BITS, MAX_RSA_BITS = 2048, 8192
# A larger one makes the check of a signature as slow as signing is.
MAX_RSA_EXPONENT = 2**32
DEFAULT_SECONDS = 3600
MAX_SECONDS = 86_400
SIGNATURE, ENCIPHERMENT = "digital signature", "key encipherment"
CLIENT, SERVER = "client auth", "server auth"
USAGES = frozenset({SIGNATURE, ENCIPHERMENT, CLIENT, SERVER})
_SPIFFE_ID = re.compile(r"spiffe://(?P<domain>[a-z0-9._-]{1,255})/ns/(?P<namespace>[^/]+)/sa/(?P<account>[^/]+)")
_HASHES = (hashes.SHA256, hashes.SHA384, hashes.SHA512)
_CURVES = (ec.SECP256R1, ec.SECP384R1)

PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey


class RequestSpec(Value, frozen=True):
    """The spec of a CertificateSigningRequest. `username` and `extra` are set by the API server, and never changed."""

    request: bytes
    username: str
    extra: dict[str, tuple[str, ...]] | None = None
    usages: tuple[str, ...] | None = None
    expiration_seconds: int | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """A certificate that may be issued. Where `node` is not empty, only if a pod of the account runs on that node."""

    account: ServiceAccount
    spiffe_id: str
    key: PublicKey
    usages: frozenset[str]
    seconds: int
    node: str = ""


class DeniedError(Exception):
    """A request that may not have what it asks for. The message names the field."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")


def wanted(spec: RequestSpec, trust_domain: str, agent: str) -> Wanted:
    """What a request asks for. `agent` is the user name of weft's agents. Raises `DeniedError`."""
    request = _parsed(spec.request)
    uri = _only_name(request)
    account = _account(uri, trust_domain)
    usages = _usages(spec.usages or ())
    node = _node(spec, account, agent)
    seconds = min(spec.expiration_seconds or DEFAULT_SECONDS, MAX_SECONDS)
    # The check of a signature takes most time, so it comes last.
    return Wanted(account, uri, _proved_key(request), usages, seconds, node)


def _parsed(request: bytes) -> x509.CertificateSigningRequest:
    if len(request) > MAX_REQUEST_BYTES:
        raise DeniedError("spec.request", f"has {len(request)} bytes, and may have {MAX_REQUEST_BYTES}")
    try:
        return x509.load_pem_x509_csr(request)
    except ValueError as error:
        raise DeniedError("spec.request", "is no PKCS #10 request in PEM") from error


def _only_name(request: x509.CertificateSigningRequest) -> str:
    """The one URI that is the only subject alternative name."""
    try:
        names = list(_alternative_names(request))
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise DeniedError("spec.request", "has extensions that cannot be read") from error
    if len(names) != 1 or not isinstance(names[0], x509.UniformResourceIdentifier):
        raise DeniedError("spec.request", "must have exactly one subject alternative name, a URI")
    return names[0].value


def _alternative_names(request: x509.CertificateSigningRequest) -> Iterator[x509.GeneralName]:
    for extension in request.extensions:
        if isinstance(extension.value, x509.SubjectAlternativeName):
            yield from extension.value


def _account(uri: str, trust_domain: str) -> ServiceAccount:
    found = _SPIFFE_ID.fullmatch(uri)
    named = ServiceAccount(found["namespace"], found["account"]) if found else None
    if found is None or named is None or not (_is_label(named.namespace) and NAME.fullmatch(named.name)):
        raise DeniedError("spec.request", f"{uri[:300]!a} is not spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/NAME")
    if uri != spiffe_id(named.namespace, named.name, trust_domain):
        raise DeniedError("spec.request", f"{found['domain']} is not the trust domain of the mesh, {trust_domain!a}")
    return named


def _is_label(name: str) -> bool:
    return NAME.fullmatch(name) is not None and "." not in name


def _usages(usages: tuple[str, ...]) -> frozenset[str]:
    found = frozenset(usages)
    if others := found - USAGES:
        raise DeniedError("spec.usages", f"{min(others)[:80]!a} is none of {', '.join(sorted(USAGES))}")
    if found.isdisjoint((CLIENT, SERVER)):
        raise DeniedError("spec.usages", f"must have {CLIENT} or {SERVER}")
    return found


def _node(spec: RequestSpec, account: ServiceAccount, agent: str) -> str:
    """The node that has to run a pod of the account; empty where the account asks for itself."""
    if spec.username == f"{ACCOUNT_USER}{account.namespace}:{account.name}":
        return ""
    if spec.username != agent:
        raise DeniedError("spec.username", f"{spec.username[:300]!a} is not the service account {account}")
    nodes = (spec.extra or {}).get(NODE_NAME, ())
    if len(nodes) != 1 or not NAME.fullmatch(nodes[0]):
        raise DeniedError(f"spec.extra[{NODE_NAME}]", "does not name the node of the agent's token")
    return nodes[0]


def _proved_key(request: x509.CertificateSigningRequest) -> PublicKey:
    """The key, which has signed the request."""
    try:
        key = _sane_key(request)
        algorithm = request.signature_hash_algorithm
        if algorithm is not None and not isinstance(algorithm, _HASHES):
            raise DeniedError("spec.request", f"is signed with {algorithm.name}, and not with SHA-2")
        valid = request.is_signature_valid
    except (ValueError, UnsupportedAlgorithm) as error:
        raise DeniedError("spec.request", "has a key or signature that cannot be read") from error
    if not valid:
        raise DeniedError("spec.request", "is not signed with its key")
    return key


def _sane_key(request: x509.CertificateSigningRequest) -> PublicKey:
    """The key if it is of a kind that is signed. Raises `ValueError`, `UnsupportedAlgorithm`, `DeniedError`."""
    match request.public_key():
        case ec.EllipticCurvePublicKey() as key if isinstance(key.curve, _CURVES):
            return key
        case rsa.RSAPublicKey() as key if (
            MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS and key.public_numbers().e < MAX_RSA_EXPONENT
        ):
            return key
        case ed25519.Ed25519PublicKey() as key:
            return key
    rsa_bits = f"RSA of {MIN_RSA_BITS} to {MAX_RSA_BITS} bits with a small exponent"
    raise DeniedError("spec.request", f"has a key that is neither ECDSA P-256 or P-384, nor Ed25519, nor {rsa_bits}")
