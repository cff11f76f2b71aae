"""The words of rules, by their numbers: a trace of the kernel names a rule by its handle only.

Of rules that iptables made (iptables-nft) nft does not know all words: matches and targets that are its own. So their
words are those of iptables-save, which lists the rules of a chain in the same order.

Source: nft(8), options --handle and --stateless; iptables-save(8), xtables-nft(8).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping

from labsupport.sandbox import Lab

RuleKey = tuple[str, str, int]
"""Family, table, and the rule's handle, which is unique in its table."""

ChainKey = tuple[str, str, str]
"""Family, table, chain."""

_SAVERS = {"ip": "iptables-save", "ip6": "ip6tables-save"}
_MANAGED = "managed by iptables-nft"
_TABLE = re.compile(r"table (\S+) (\S+) \{")
_HANDLE = re.compile(r"^(.*?) # handle (\d+)$")
_CHAIN = re.compile(r"chain (\S+) \{")
_SAVED = re.compile(r"-A (\S+) (.*)")
_NO_RULE = ("table ", "chain ", "set ", "map ", "type ")


def rule_words(lab: Lab, namespace: str) -> dict[RuleKey, str]:
    """Return the rules of one namespace as they were written, without counters.

    Raises:
        CommandFailed: they could not be listed.
    """
    listed = lab.observe(["nft", "--handle", "--stateless", "list", "ruleset"], namespace=namespace).check()
    chains = read_rules(listed.stdout)
    saved: dict[ChainKey, list[str]] = {}
    if _MANAGED in listed.stderr + listed.stdout:
        for family, program in _SAVERS.items():
            printed = lab.observe([program], namespace=namespace).check().stdout
            saved |= {(family, *key): rules for key, rules in read_saved(printed).items()}
    return {(family, table, handle): words for (family, table, chain), rules in chains.items()
            for handle, words in _as_saved(rules, saved.get((family, table, chain), [])).items()}


def _as_saved(rules: Mapping[int, str], saved: list[str]) -> dict[int, str]:
    """Return the words of iptables for the rules of a chain, unless somebody has changed the chain meanwhile."""
    return dict(zip(rules, saved if len(saved) == len(rules) else rules.values(), strict=True))


def read_rules(listing: str) -> dict[ChainKey, dict[int, str]]:
    """Return the rules in what `nft --handle --stateless list ruleset` prints: by chain, in order, by their handles."""
    found: dict[ChainKey, dict[int, str]] = {}
    family = table = chain = ""
    for line in map(str.strip, listing.splitlines()):
        if opened := _TABLE.match(line):
            family, table = opened.groups()
        elif opened := _CHAIN.match(line):
            chain = opened[1]
        elif (rule := _HANDLE.match(line)) and not line.startswith(_NO_RULE):
            found.setdefault((family, table, chain), {})[int(rule[2])] = rule[1]
    return found


def read_saved(listing: str) -> dict[tuple[str, str], list[str]]:
    """Return the rules in what `iptables-save` prints: by table and chain, in order."""
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    table = ""
    for line in listing.splitlines():
        if line.startswith("*"):
            table = line[1:]
        elif rule := _SAVED.match(line):
            found[table, rule[1]].append(rule[2])
    return found
