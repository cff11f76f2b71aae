# The first process of a node, in network, mount, UTS and PID namespaces of its own: builds the node's view of the
# file system, says its process id, and then only collects orphans.
#   sh node.sh NAME FOLDER [CONTROLLER...]
set -eu
name=$1 folder=$2
shift 2
read -r pid _rest </proc/self/stat # as the lab counts it, since /proc is still the lab's
hostname "$name"
mount -t proc -o nosuid,nodev,noexec proc /proc
mount -t sysfs -o nosuid,nodev,noexec sysfs /sys
mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 /sys/fs/cgroup
if [ $# -gt 0 ]; then
  cgroup=/sys/fs/cgroup/$name
  mkdir -p "$cgroup"
  # Of containers that a power cut has ended; the next start finds those that are ending just now.
  find "$cgroup" -mindepth 1 -depth -type d -exec rmdir {} + 2>/dev/null || true
  [ ! -e "$cgroup/pids.max" ] || echo 2048 >"$cgroup/pids.max" # its containers' share of what the lab may have
fi
# Like the disk of a machine: /var/lib and /var/log stay when the node is started again.
mount --bind "$folder/etc/kubernetes" /etc/kubernetes
for file in hosts hostname; do mount --bind "$folder/etc/$file" "/etc/$file"; done
mount --bind "$folder/etc/kubernetes/resolv.conf" /etc/resolv.conf
mkdir -p /etc/cni/net.d
mount --bind "$folder/etc/cni" /etc/cni/net.d
mount --bind "$folder/log" /var/log
mount --bind "$folder/lib" /var/lib
mount -t tmpfs -o nosuid,nodev,mode=755,size=256m tmpfs /run
mkdir -p /run/lock /run/netns
echo "$pid"
exec >/dev/null 2>&1
sleep infinity &
while :; do wait; done
