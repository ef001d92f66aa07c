"""An authority: a self-signed certificate of a trust domain and its key, and the certificates that it signs."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from agent.certificates.request import CLIENT, ENCIPHERMENT, SERVER, Wanted

# For clocks that are behind.
BACKDATED = timedelta(minutes=5)
_PURPOSES = {CLIENT: ExtendedKeyUsageOID.CLIENT_AUTH, SERVER: ExtendedKeyUsageOID.SERVER_AUTH}


class AuthorityError(Exception):
    """A stored authority that cannot be used. The message says why, and has nothing of the key."""


@dataclass(frozen=True, slots=True, repr=False)
class Authority:
    """A root of a trust domain. A later generation replaces an earlier one."""

    generation: int
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def trust_domain(self) -> str:
        """The trust domain that its SPIFFE ID names."""
        return _trust_domain(self.certificate)

    @property
    def end(self) -> datetime:
        """The end of its validity."""
        return self.certificate.not_valid_after_utc

    @property
    def certificate_pem(self) -> bytes:
        """The certificate, as in trust bundles."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def key_pem(self) -> bytes:
        """The private key, for the Secret alone."""
        plain = serialization.NoEncryption()
        return self.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)


def new_authority(generation: int, trust_domain: str, now: datetime, life: timedelta) -> Authority:
    """A new authority, valid from now on for `life`."""
    key = ec.generate_private_key(ec.SECP256R1())
    serial = x509.random_serial_number()
    # Two authorities of one generation, the first of which was deleted, have different names.
    common_name = x509.NameAttribute(NameOID.COMMON_NAME, f"weft generation {generation}")
    name = x509.Name([common_name, x509.NameAttribute(NameOID.SERIAL_NUMBER, f"{serial:x}"[:16])])
    uri = x509.UniformResourceIdentifier(f"spiffe://{trust_domain}")
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), serial, now - BACKDATED, now + life)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(sign_certificates=True), critical=True)
        .add_extension(x509.SubjectAlternativeName([uri]), critical=False)
        .add_extension(identifier, critical=False)
        .sign(key, hashes.SHA256())
    )
    return Authority(generation, made, key)


def stored_authority(generation: int, certificate: bytes, key: bytes) -> Authority:
    """An authority from its PEM. Raises `AuthorityError`."""
    try:
        root = x509.load_pem_x509_certificate(certificate)
        root.verify_directly_issued_by(root)
        is_authority = root.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        _trust_domain(root)
    except Exception as error:  # each field has its own kind of error
        raise AuthorityError("the certificate is not that of a self-signed authority with a SPIFFE ID") from error
    try:
        private = serialization.load_pem_private_key(key, None)
    except Exception:
        # Without its cause: nothing of the key may come into a log.
        raise AuthorityError("the key cannot be read") from None
    if not isinstance(private, ec.EllipticCurvePrivateKey) or private.public_key() != root.public_key():
        raise AuthorityError("the key is not the ECDSA key of the certificate")
    if not is_authority:
        raise AuthorityError("the certificate is not that of an authority")
    return Authority(generation, root, private)


def signed(authority: Authority, wanted: Wanted, now: datetime) -> bytes:
    """The certificate that was asked for, in PEM. It ends with its authority at the latest."""
    root = authority.certificate
    begin = max(now - BACKDATED, root.not_valid_before_utc)
    end = min(now + timedelta(seconds=wanted.seconds), authority.end)
    encipherment = ENCIPHERMENT in wanted.usages and isinstance(wanted.key, rsa.RSAPublicKey)
    purposes = [identifier for usage, identifier in _PURPOSES.items() if usage in wanted.usages]
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(wanted.spiffe_id)])
    empty, serial = x509.Name([]), x509.random_serial_number()
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    made = (
        x509.CertificateBuilder(root.subject, empty, wanted.key, serial, begin, end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(encipher=encipherment), critical=True)
        .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        # Critical, because the subject is empty (RFC 5280, 4.2.1.6).
        .add_extension(names, critical=True)
        .add_extension(issuer, critical=False)
        .sign(authority.key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM)


def _key_usage(*, sign_certificates: bool = False, encipher: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign_certificates,
        content_commitment=False,
        key_encipherment=encipher,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _trust_domain(certificate: x509.Certificate) -> str:
    """Raises `ValueError` and errors of extensions where the certificate has no SPIFFE ID of a trust domain."""
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    (uri,) = names.get_values_for_type(x509.UniformResourceIdentifier)
    if not uri.startswith("spiffe://") or "/" in uri.removeprefix("spiffe://"):
        raise ValueError(uri)
    return uri.removeprefix("spiffe://")
