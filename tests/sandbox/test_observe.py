"""`Lab.observe`: what a check sees must be the truth, whatever the lab's root has done to the lab."""

from __future__ import annotations

import json

import oracle
import pytest

from labsupport.errors import CommandTimeout, NamespaceNotFound, OutputLimitExceeded

FAKE_IP = r"""printf '#!/bin/sh\necho "[]"\n' > /tmp/ip && chmod +x /tmp/ip"""


def links(lab, namespace=""):
    done = lab.observe(["ip", "-json", "link"], namespace=namespace).check()
    assert done.stderr == ""
    return [link["ifname"] for link in json.loads(done.stdout)]


def test_it_sees_what_the_host_sees(lab, inside_pid):
    lab.run("ip netns add red; ip link add east type veth peer name west netns red", echo=False).check()
    for namespace, names in (("", ["lo", "east"]), ("red", ["lo", "west"])):
        assert links(lab, namespace) == names
        assert [link["ifname"] for link in oracle.ip_json(inside_pid, "link", namespace=namespace)] == names
    assert "nftables" in lab.observe(["nft", "-j", "list", "ruleset"], namespace="red").check().stdout


def test_a_bind_mount_over_ip_does_not_fool_it(lab):
    lab.run(FAKE_IP + "; mount --bind /tmp/ip /usr/sbin/ip", echo=False).check()
    assert lab.run("ip -json link", echo=False).stdout == "[]\n"
    assert links(lab) == ["lo"]


def test_a_path_with_another_ip_does_not_fool_it(lab):
    lab.run(FAKE_IP + "; mount -t tmpfs none /usr/local/sbin; cp /tmp/ip /usr/local/sbin/ip", echo=False).check()
    assert lab.run("ip -json link", echo=False).stdout == "[]\n"
    assert links(lab) == ["lo"]


def test_a_preloaded_library_does_not_fool_it(lab):
    lab.run("echo /tmp/no-such.so > /etc/ld.so.preload", echo=False).check()
    assert "cannot be preloaded" in lab.run("ip -json link", echo=False).stderr
    assert links(lab) == ["lo"]


def test_nothing_at_all_left_of_usr_does_not_fool_it(lab):
    lab.run("mount -t tmpfs none /usr", echo=False).check()
    assert links(lab) == ["lo"]


def test_a_program_that_is_not_there_is_an_error_of_it(lab):
    done = lab.observe(["no-such-program"])
    assert done.exit_status == 127
    assert "no-such-program: not found" in done.stderr


def test_nothing_in_the_lab_sees_the_program(lab):
    lab.run("(while :; do cat /proc/[0-9]*/cmdline; done) > /tmp/seen 2>/dev/null & :", echo=False).check()
    with pytest.raises(CommandTimeout):
        lab.observe(["sleep", "0.75"], timeout_s=0.25)
    seen = lab.run("tr '\\0' ' ' < /tmp/seen", echo=False, max_output_bytes=64 << 20).stdout
    assert "cat /proc/" in seen
    assert "0.75" not in seen


def test_only_real_namespaces_count(lab):
    lab.run("ip netns add red; cd /run/netns; ln -s /proc/1/ns/net link; ln -s red alias; mkfifo pipe; touch file",
               echo=False).check()
    for name in ("link", "alias", "pipe", "file", "missing", "..", "../netns/red"):
        with pytest.raises(NamespaceNotFound, match="no network namespace is called"):
            lab.observe(["ip", "-json", "link"], namespace=name)
    assert lab.namespaces() == ["red"]
    lab.run("umount /run/netns/red /run/netns; mv /run/netns /run/away; ln -s away /run/netns", echo=False)
    assert lab.namespaces() == []
    with pytest.raises(NamespaceNotFound):
        lab.observe(["ip", "-json", "link"], namespace="red")


def test_output_without_end_is_cut(lab):
    with pytest.raises(OutputLimitExceeded):
        lab.observe(["cat", "/dev/zero"])


def test_a_program_that_does_not_end_is_ended(lab):
    with pytest.raises(CommandTimeout, match=r"after its time limit of 0\.2 s"):
        lab.observe(["sleep", "4321"], timeout_s=0.2)
    assert not any("4321" in process.command_line.split("\0") for process in oracle.processes().values())
