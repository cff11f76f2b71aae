"""Reading what the kernel and programs print."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from labsupport.doctor import features, ids, namespaces, observing, tools
from labsupport.doctor.ids import IdMap
from labsupport.doctor.observing import Outcome, Probed, Ran

DOCKER = """\
1063 1062 0:120 / /proc rw,nosuid,nodev,noexec,relatime - proc proc rw
1067 1062 0:124 / /sys ro,nosuid,nodev,noexec,relatime - sysfs sysfs ro
1068 1067 0:29 / /sys/fs/cgroup ro,nosuid,nodev,noexec,relatime - cgroup2 cgroup rw
810 1063 0:120 /bus /proc/bus ro,nosuid,nodev,noexec,relatime - proc proc rw
819 1063 0:126 / /proc/acpi ro,relatime - tmpfs tmpfs ro
824 1063 0:121 /null /proc/kcore rw,nosuid - tmpfs tmpfs rw,size=65536k,mode=755
830 1067 0:128 / /sys/firmware ro,relatime - tmpfs tmpfs ro
"""
DEBIAN = """\
22 27 0:21 / /proc rw,relatime shared:5 - proc proc rw
23 27 0:22 / /sys rw,relatime shared:6 - sysfs sysfs rw
31 23 0:28 / /sys/fs/cgroup rw shared:9 - cgroup2 cgroup2 rw
32 23 0:7 / /sys/kernel/security rw shared:7 - securityfs securityfs rw
40 22 0:35 / /proc/sys/fs/binfmt_misc rw shared:15 - autofs systemd-1 rw
41 27 0:36 / /media/a\\040disk rw shared:16 - vfat /dev/sdb rw
"""


def test_masks_of_a_container_are_found() -> None:
    mounts = namespaces.parse_mountinfo(DOCKER)
    assert namespaces.masks(mounts, "/proc") == ["/proc/acpi", "/proc/bus", "/proc/kcore"]
    assert namespaces.masks(mounts, "/sys") == ["/sys is read-only", "/sys/firmware"]


def test_an_ordinary_system_has_none() -> None:
    mounts = namespaces.parse_mountinfo(DEBIAN)
    assert namespaces.masks(mounts, "/proc") == []
    assert namespaces.masks(mounts, "/sys") == []
    assert mounts[-1].path == "/media/a disk"


def test_lines_that_are_no_mounts_are_left_out() -> None:
    assert namespaces.parse_mountinfo("\nnonsense\n1 2 - \n") == []


@pytest.mark.parametrize(("text", "version"), [
    ("ip utility, iproute2-6.1.0, libbpf 1.1.2", "6.1.0"),
    ("ip utility, iproute2-ss200127", "ss200127"),
    ("ss utility, iproute2-5.15.0", "5.15.0"),
    ("nftables v1.0.6 (Lester Gooch #5)", "1.0.6"),
    ("iptables v1.8.9 (nf_tables)", "1.8.9"),
    ("tcpdump version 4.99.3\nlibpcap version 1.10.3", "4.99.3"),
    ("ping from iputils 20221126", "20221126"),
    ("conntrack v1.4.7 (conntrack-tools)", "1.4.7"),
    ("GNU bash, version 5.2.15(1)-release (x86_64-pc-linux-gnu)", "5.2.15"),
    ("sysctl from procps-ng 4.0.2", "4.0.2"),
    ("usage: what", ""),
    ("", ""),
])
def test_versions_as_programs_print_them(text: str, version: str) -> None:
    assert tools.parse_version(text) == version


def test_failures_of_a_batch_are_told_by_line() -> None:
    said = ("Error: Unknown device type.\nCommand failed -:2\nRTNETLINK answers: Operation not supported\n"
            "Command failed -:4\nCommand failed -:5\n")
    assert features.batch_failures(said) == {2: "Error: Unknown device type.",
                                             4: "RTNETLINK answers: Operation not supported", 5: "no reason given"}


def test_a_batch_failure_is_the_failure_of_its_own_feature() -> None:
    by_name = {feature.name: feature for feature in features.FEATURES}
    lines = [feature.name for feature in features.FEATURES if feature.trial == "ip"]
    number = lines.index("VXLAN") + 1
    ran = Ran(1, "", f"Error: Unknown device type.\nCommand failed -:{number}\n")
    assert features.failure(by_name["VXLAN"], ran) == "Error: Unknown device type."
    assert features.failure(by_name["veth pairs"], ran) == ""


def test_what_the_probe_says_is_read_line_by_line() -> None:
    lines = [{"step": "inner namespaces", "errno": 0, "text": ""},
             {"step": "inner namespaces", "errno": 1, "text": "Operation not permitted"},
             {"trial": "ip", "status": 0, "stdout": "a", "stderr": ""}]
    probed = observing.parse_probe("\n".join(map(json.dumps, lines)) + '\n{"step": "fre')
    assert probed.failed("inner namespaces") == Outcome(1, "Operation not permitted")
    assert probed.trials == {"ip": Ran(0, "a", "")}
    assert not probed.reached("fresh /proc")
    assert "fre" in probed.trouble


def test_a_probe_that_says_nothing_is_a_gap() -> None:
    settings = namespaces.Settings(root=False, maxima={}, clone_switch="", apparmor_switch="", seccomp=False)
    checks = namespaces.check_namespaces(Probed(trouble="it ended with status -9"), settings)
    assert all(check.stops_labs for check in checks)
    assert "status -9" in checks[0].observed


def test_the_range_to_add_lies_after_those_in_use(tmp_path: Path) -> None:
    uids, gids = tmp_path / "subuid", tmp_path / "subgid"
    assert ids.first_free_subordinate_id((uids, gids)) == 100000
    uids.write_text("ann:100000:65536\nbob:165536:65536\nbroken\n")
    gids.write_text("ann:100000:65536\n")
    assert ids.first_free_subordinate_id((uids, gids)) == 231072


def test_one_id_is_a_note_with_the_line_for_the_administrator() -> None:
    one = IdMap("single", ((0, 1000, 1),), ((0, 1000, 1),))
    check = namespaces.check_ids(one, "ann", 100000, has_helpers=False)
    assert check.state == "note"
    assert "sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 ann" in check.next_step
    assert "apt-get install uidmap" in check.next_step
    assert "uidmap" not in namespaces.check_ids(one, "ann", 100000, has_helpers=True).next_step
    assert "'1234:100000:65536'" in namespaces.check_ids(one, "1234", 100000, has_helpers=True).next_step


def test_a_user_with_a_range_and_root_are_fine() -> None:
    more = IdMap("subordinate", ((0, 1000, 1), (1, 100000, 65536)), ((0, 1000, 1), (1, 100000, 65536)))
    assert namespaces.check_ids(more, "ann", 1, has_helpers=True).state == "ok"
    assert "65537" in namespaces.check_ids(more, "ann", 1, has_helpers=True).observed
