"""The words of rules, by their numbers: a trace of the kernel names a rule by its handle only.

Rules that iptables made are listed as well: nft translates them as far as it can.

Source: nft(8), options --handle and --stateless.
"""

from __future__ import annotations

import re

from labsupport.sandbox import Lab

RuleKey = tuple[str, str, int]
"""Family, table, and the rule's handle, which is unique in its table."""

_TABLE = re.compile(r"table (\S+) (\S+) \{")
_HANDLE = re.compile(r"^(.*?) # handle (\d+)$")
_NO_RULE = ("table ", "chain ", "set ", "map ", "type ")


def rule_words(lab: Lab, namespace: str) -> dict[RuleKey, str]:
    """Return the rules of one namespace as nft writes them, without counters.

    Raises:
        CommandFailed: nft could not list them.
    """
    listed = lab.observe(["nft", "--handle", "--stateless", "list", "ruleset"], namespace=namespace)
    return read_rules(listed.check().stdout)


def read_rules(listing: str) -> dict[RuleKey, str]:
    """Return the rules in what `nft --handle --stateless list ruleset` prints."""
    found: dict[RuleKey, str] = {}
    family = table = ""
    for line in map(str.strip, listing.splitlines()):
        if opened := _TABLE.match(line):
            family, table = opened.groups()
        elif (rule := _HANDLE.match(line)) and not line.startswith(_NO_RULE):
            found[family, table, int(rule[2])] = rule[1]
    return found
