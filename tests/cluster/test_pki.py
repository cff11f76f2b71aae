"""Certificates: whom they name, what they are good for, and that OpenSSL agrees, in real handshakes."""

from __future__ import annotations

import datetime as dt
import socket
import ssl
import threading
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from labsupport.cluster.kubeconfig import Credential
from labsupport.cluster.pki import Authority, new_key, private_pem, public_pem


def read(credential: Credential) -> x509.Certificate:
    return x509.load_pem_x509_certificate(credential.certificate)


def words(certificate: x509.Certificate, kind: x509.ObjectIdentifier) -> list[str]:
    return [str(attribute.value) for attribute in certificate.subject.get_attributes_for_oid(kind)]


def context(protocol: int, authority: Authority, credential: Credential, folder: Path) -> ssl.SSLContext:
    made = ssl.SSLContext(protocol)
    made.load_verify_locations(cadata=authority.certificate.decode())
    made.verify_mode = ssl.CERT_REQUIRED
    file = folder / f"{protocol}.pem"
    file.write_bytes(credential.certificate + credential.key)
    made.load_cert_chain(file)
    return made


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> str:
    """Return the user that a server sees; raises what the client sees."""
    near, far = socket.socketpair()
    seen: list[str] = []

    def serve() -> None:
        try:
            with server.wrap_socket(far, server_side=True) as stream:
                subject = dict(entry[0] for entry in stream.getpeercert()["subject"])
                seen.append(subject["commonName"])
                stream.sendall(b"!")
        except OSError:
            far.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        near.settimeout(10)
        with client.wrap_socket(near, server_hostname=name) as stream:
            assert stream.recv(1) == b"!", "the server refused"
    finally:
        near.close()
        thread.join(10)
    return seen[0]


@pytest.fixture
def authority() -> Authority:
    return Authority("test")


def test_a_client_certificate_names_the_user_and_the_groups(authority):
    found = read(authority.issue_client("system:node:node1", ["system:nodes", "others"]))
    assert words(found, NameOID.COMMON_NAME) == ["system:node:node1"]
    assert words(found, NameOID.ORGANIZATION_NAME) == ["system:nodes", "others"]


def test_a_certificate_is_good_for_one_purpose_and_signs_no_other(authority):
    for credential, purpose in ((authority.issue_client("ann"), ExtendedKeyUsageOID.CLIENT_AUTH),
                                (authority.issue_server("api", ["localhost"]), ExtendedKeyUsageOID.SERVER_AUTH)):
        extensions = read(credential).extensions
        assert list(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [purpose]
        assert extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    own = x509.load_pem_x509_certificate(authority.certificate).extensions
    limits = own.get_extension_for_class(x509.BasicConstraints)
    assert (limits.critical, limits.value.ca, limits.value.path_length) == (True, True, 0)


def test_a_server_certificate_has_names_and_addresses(authority):
    found = read(authority.issue_server("api", ["kubernetes", "10.0.0.1", "::1"]))
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["kubernetes"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["10.0.0.1", "::1"]


def test_certificates_hold_now_and_for_a_year(authority):
    now = dt.datetime.now(dt.UTC)
    for found in (read(authority.issue_client("ann")), x509.load_pem_x509_certificate(authority.certificate)):
        assert now - dt.timedelta(minutes=10) < found.not_valid_before_utc < now
        assert dt.timedelta(days=364) < found.not_valid_after_utc - now <= dt.timedelta(days=365)


def test_each_certificate_has_a_key_and_a_number_of_its_own(authority):
    credentials = [authority.issue_client("ann") for _ in range(3)]
    assert len({read(each).serial_number for each in credentials}) == len({each.key for each in credentials}) == 3
    for each in credentials:
        assert each.key.startswith(b"-----BEGIN EC PRIVATE KEY-----\n")
        key = serialization.load_pem_private_key(each.key, None)
        assert key.public_key() == read(each).public_key()


def test_a_key_is_not_shown_by_accident(authority):
    credential = authority.issue_client("ann")
    assert credential.key.decode().splitlines()[1] not in repr(credential)


def test_public_and_private_key_belong_together():
    key = new_key()
    assert serialization.load_pem_public_key(public_pem(key)) == serialization.load_pem_private_key(
        private_pem(key), None).public_key()


def test_openssl_accepts_both_sides(authority, tmp_path):
    server = context(ssl.PROTOCOL_TLS_SERVER, authority, authority.issue_server("api", ["localhost", "127.0.0.1"]),
                     tmp_path)
    client = context(ssl.PROTOCOL_TLS_CLIENT, authority, authority.issue_client("ann", ["users"]), tmp_path)
    for name in ("localhost", "127.0.0.1"):
        assert handshake(server, client, name) == "ann"
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        handshake(server, client, "elsewhere")


def test_openssl_refuses_what_another_authority_of_the_same_name_signed(authority, tmp_path):
    other = Authority("test")
    server = context(ssl.PROTOCOL_TLS_SERVER, authority, authority.issue_server("api", ["localhost"]), tmp_path)
    client = context(ssl.PROTOCOL_TLS_CLIENT, authority, other.issue_client("ann"), tmp_path)
    with pytest.raises(OSError, match=r"unknown ca|decrypt error"):
        handshake(server, client, "localhost")
    client = context(ssl.PROTOCOL_TLS_CLIENT, other, other.issue_client("ann"), tmp_path)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(server, client, "localhost")


def test_openssl_refuses_a_certificate_in_the_other_role(authority, tmp_path):
    server = context(ssl.PROTOCOL_TLS_SERVER, authority, authority.issue_server("api", ["localhost"]), tmp_path)
    client = context(ssl.PROTOCOL_TLS_CLIENT, authority, authority.issue_server("api", ["localhost"]), tmp_path)
    with pytest.raises(OSError, match="unsupported certificate"):
        handshake(server, client, "localhost")
