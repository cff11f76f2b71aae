# A cluster started by hand: the first process of namespaces that unshare(1) has made. bare.py has written what it reads.
#   bash bare.sh FOLDER ARCHIVE NODE...
set -eu
cd "$1"
archive=$2
shift 2
api=https://127.0.0.1:16443 admin=/etc/kubernetes/admin
export api
curl="curl --silent --show-error --fail --output /dev/null --cacert /etc/kubernetes/pki/ca.crt --cert $admin.crt --key $admin.key"
export curl

start() { # the command line of NAME is in the file commands/NAME
    name=$1
    shift
    "$@" sh "$PWD/commands/$name" >"/var/log/$name.log" 2>&1 &
}

start_node() {
    nsenter --net="/run/netns/$1" unshare --mount --uts --pid --fork --kill-child --propagation=private \
        sh node.sh "$1" "/var/lib/cluster/nodes/$1" >"/run/$1.pid" &
    until [ -s "/run/$1.pid" ]; do sleep 0.01; done
    on="nsenter --target=$(cat "/run/$1.pid") --mount --uts --net --pid --"
    start "containerd@$1" $on
    until $on sh "$PWD/commands/ctr" version >/dev/null 2>&1; do sleep 0.05; done
    $on sh "$PWD/commands/ctr" --namespace k8s.io images import --no-unpack "$archive" >/dev/null
    until [ -e /run/api-ready ]; do sleep 0.05; done
    start "kubelet@$1" $on
    start "kube-proxy@$1" $on
}

for folder in /run /var/lib /var/log; do mount -t tmpfs -o nosuid,mode=755 tmpfs $folder; done
mkdir -p /run/netns /run/etc /run/work
mount -t overlay overlay -o lowerdir=/etc,upperdir=/run/etc,workdir=/run/work,userxattr /etc
sh commands/rack
tar --extract --directory=/ --no-overwrite-dir --no-same-owner --same-permissions --file=files.tar
start etcd
start kube-apiserver
for node; do
    sh "commands/wire-$node"
    (cd "/var/lib/cluster/nodes/$node" && mkdir log && cd etc && chmod 700 kubernetes &&
        chmod 644 hosts hostname kubernetes/resolv.conf)
    start_node "$node" &
done
until $curl "$api/readyz" 2>/dev/null; do sleep 0.1; done
start kube-controller-manager
start kube-scheduler
sh commands/objects
touch /run/api-ready
sh commands/await-nodes >/dev/null
echo nodes
if [ -e commands/dns ]; then
    sh commands/dns
    sh commands/await-dns >/dev/null
fi
echo everything
wait
