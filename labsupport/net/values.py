"""Finds values of a planned network that are not even of the right kind, such as None where an address belongs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import fields

from labsupport.net.plan import Fault, Plan

_KINDS = {"str": "text in quotes", "int": "a whole number", "float": "a number", "bool": "True or False"}
_ARGUMENTS = {"ageing_s": "an ageing time", "mtu_bytes": "an MTU", "mac": "a MAC address", "via": "a router",
              "name": "a name", "device": "a link", "to": "an address and a port", "port": "a port"}


def faults(plan: Plan) -> list[Fault]:
    """Return what is wrong; the other checks can only be made when there is nothing."""
    parts: list[Iterable[object]] = [plan.namespaces, plan.bridges, plan.links, plan.routes, plan.shapings,
                                     plan.publications]
    found = [fault for part in parts for one in part for fault in _of_part(one)]
    texts = [*((address, "an address", call) for _, address, call in plan.addresses),
             *((name, "a namespace", call) for name, _, _, call in plan.sysctls),
             *((key, "a setting", call) for _, key, _, call in plan.sysctls),
             *((source, "a network", call) for _, source, call in plan.masquerades)]
    return found + [_fault(value, "str", what, call) for value, what, call in texts if not _is(value, "str")]


def _of_part(part: object) -> Iterator[Fault]:
    for field in fields(part):  # type: ignore[arg-type]
        value = getattr(part, field.name)
        if field.type in _KINDS and not _is(value, str(field.type)):
            what = _ARGUMENTS.get(field.name, field.name.replace("_", " "))
            yield _fault(value, str(field.type), what, part.call)  # type: ignore[attr-defined]


def _is(value: object, kind: str) -> bool:
    if kind == "str":
        return isinstance(value, str)
    if kind == "bool" or isinstance(value, bool):
        return kind == "bool" and isinstance(value, bool)
    return isinstance(value, int) or (kind == "float" and isinstance(value, float) and math.isfinite(value))


def _fault(value: object, kind: str, what: str, call: str) -> Fault:
    return Fault(call, f"{what} cannot be {value!r}", _KINDS[kind], f"write {_KINDS[kind]} there")
