"""Where a cluster comes from: an embedded one, microk8s, or whatever a kubeconfig names.

The embedded one is `labsupport.cluster.Cluster`. The others are foreign: their API server is all that is reached of
them, so a notebook gets a Kubernetes namespace there, and no access to the nodes' kernels.
"""

from labsupport.cluster.backends.choice import Choice, choose
from labsupport.cluster.backends.foreign import Foreign
from labsupport.cluster.backends.kubeconfig import open_kubeconfig
from labsupport.cluster.backends.microk8s_cluster import open_microk8s

__all__ = ["Choice", "Foreign", "choose", "open_kubeconfig", "open_microk8s"]
