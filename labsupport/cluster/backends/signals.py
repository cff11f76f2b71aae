"""What programs print when something is wrong, and what to do then.

Exit statuses do not tell: `microk8s status` prints "not running" with 0, and so does `images import` when it fails.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from labsupport.errors import ClusterError


@dataclass(frozen=True)
class Signal:
    """A text that tells what is wrong.

    Attributes:
        pattern: a regular expression that finds it.
        what: what is wrong, one sentence.
        next_step: what the reader does now.
    """

    pattern: str
    what: str
    next_step: str


def find_signal(text: str, signals: Iterable[Signal]) -> Signal | None:
    """Return the first signal that is in a text."""
    return next((signal for signal in signals if re.search(signal.pattern, text)), None)


def explained(text: str, signals: Iterable[Signal], *, where: str, otherwise: str) -> ClusterError:
    """Return an error that explains a text.

    Args:
        text: what was printed or answered.
        signals: what is known.
        where: which program or server that was.
        otherwise: what is wrong, if the text is none that is known.
    """
    signal = find_signal(text, signals)
    return ClusterError(signal.what if signal else otherwise, where=where, observed=text.strip()[-600:],
                        next_step=signal.next_step if signal else "read what was observed; kubectl says more with -v=6")


# What `kubectl proxy` answers when it does not reach the API server, or is not let in.
API_SIGNALS = (
    Signal(r"Unauthorized|the server has asked for the client to provide credentials",
           "the API server does not accept the kubeconfig's credentials", "log in to the cluster again, or ask for a "
           "new kubeconfig; try: kubectl auth whoami"),
    Signal(r"Please enter Username", "the kubeconfig has no credentials for this cluster",
           "log in to the cluster again, or ask for a new kubeconfig"),
    Signal(r"getting credentials: |exec plugin|executable \S+ (not found|failed)",
           "the program that the kubeconfig names for credentials does not give any",
           "run it in a terminal, and log in if it asks; the text above names it"),
    Signal(r"certificate signed by unknown authority", "the API server's certificate is of an authority that the "
           "kubeconfig does not know", "get a new kubeconfig: the cluster was probably made anew"),
    Signal(r"certificate is valid for .*, not |cannot validate certificate for",
           "the API server's certificate is for another name or address",
           "put an address that the certificate lists into the kubeconfig; with microk8s: microk8s config -l"),
    Signal(r"certificate has expired", "a certificate has expired", "get a new kubeconfig; look at this machine's "
           "clock as well: date"),
    Signal(r"no such host|server misbehaving", "the name of the API server cannot be resolved",
           "check the name in the kubeconfig; the cluster may be inside a VPN"),
    Signal(r"connection refused|was refused|couldn't get current server API group list",
           "nobody listens at the API server's address", "start the cluster, or check the address in the kubeconfig"),
    Signal(r"timed? ?out|deadline exceeded|no route to host|network is unreachable|without response|no whole answer",
           "the API server does not answer", "check the address, the VPN and the firewall; try: kubectl get --raw "
           "/version"),
)
