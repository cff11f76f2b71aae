"""The certificates of a cluster: a CA of its own, and one credential per component.

Every component proves who it is by a client certificate; its subject is the user (CN) and the groups (O) that RBAC and
the Node authoriser know. Nobody is trusted for where he comes from.

Source: Kubernetes documentation, "PKI certificates and requirements"; RFC 5280.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from labsupport.cluster.kubeconfig import Credential

LIFETIME = dt.timedelta(days=365)
CLOCK_SKEW = dt.timedelta(minutes=5)


def new_key() -> ec.EllipticCurvePrivateKey:
    """Return a fresh P-256 key: a tenth of a millisecond to make, where RSA takes a second."""
    return ec.generate_private_key(ec.SECP256R1())


def private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return a private key as PEM, in the form that all components read (SEC 1)."""
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL,
                             serialization.NoEncryption())


def public_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return the public half of a key as PEM."""
    return key.public_key().public_bytes(serialization.Encoding.PEM,
                                         serialization.PublicFormat.SubjectPublicKeyInfo)


class Authority:
    """A certificate authority that lives only in memory, as long as the process that runs the cluster.

    Args:
        name: its common name.

    Attributes:
        certificate: PEM; what the others trust.
    """

    def __init__(self, name: str) -> None:
        self._key = new_key()
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        usage = x509.KeyUsage(digital_signature=True, content_commitment=False, key_encipherment=False,
                              data_encipherment=False, key_agreement=False, key_cert_sign=True, crl_sign=True,
                              encipher_only=False, decipher_only=False)
        certificate = (_blank(self._name, self._name, self._key)
                       .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
                       .add_extension(usage, critical=True)
                       .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()),
                                      critical=False)
                       .sign(self._key, hashes.SHA256()))
        self.certificate = certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key(self) -> bytes:
        """The private key, PEM: kube-controller-manager signs certificate requests with it."""
        return private_pem(self._key)

    def issue_client(self, user: str, groups: Sequence[str] = ()) -> Credential:
        """Return the credential of a user, as the API server knows it."""
        return self._issue(user, groups, ExtendedKeyUsageOID.CLIENT_AUTH, ())

    def issue_server(self, user: str, names: Sequence[str], groups: Sequence[str] = ()) -> Credential:
        """Return the credential of a server that is reached under `names`: DNS names and IP addresses."""
        return self._issue(user, groups, ExtendedKeyUsageOID.SERVER_AUTH, names)

    def _issue(self, user: str, groups: Sequence[str], purpose: x509.ObjectIdentifier,
               names: Sequence[str]) -> Credential:
        key = new_key()
        subject = x509.Name([*(x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups),
                             x509.NameAttribute(NameOID.COMMON_NAME, user)])
        builder = (_blank(subject, self._name, key)
                   .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
                   .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
                   .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                                  critical=False))
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]),
                                            critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        return Credential(certificate.public_bytes(serialization.Encoding.PEM), private_pem(key))


def _blank(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - CLOCK_SKEW).not_valid_after(now + LIFETIME))


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
