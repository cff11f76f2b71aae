"""Enables and disables the add-ons of one running cluster."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from functools import partial

from labsupport.cluster.addons.addon import DEFINITION, NAMESPACE, WORKERS, AddOn, Wait, does_its_work
from labsupport.cluster.addons.known import find, parse
from labsupport.cluster.api import ApiClient, Object, has_condition
from labsupport.cluster.namespaces import remove_namespace
from labsupport.cluster.reading import Reader

Report = Callable[[str], None]


class AddOns:
    """The add-ons of a cluster, from its start to its end.

    Args:
        api: reaches the API server.
        wait: see Wait.
        give_images: gives all nodes, also those to come, the images of the add-on of this name.
    """

    def __init__(self, api: ApiClient, wait: Wait, give_images: Callable[[str], None]) -> None:
        self._api = api
        self._wait = wait
        self._give_images = give_images
        self._enabled: dict[str, str] = {}
        self._lock = threading.Lock()

    def words(self) -> list[str]:
        """Return the enabled ones, as they are asked for: "dns", "metallb:10.0.0.200-10.0.0.220"."""
        return [find(name).word(argument) for name, argument in list(self._enabled.items())]

    def enable(self, word: str, report: Report) -> bool:
        """Give the cluster an add-on, and return when it does its work.

        One that is enabled gets the new argument; without one, or with the same, its objects are only mended.

        Args:
            word: NAME or NAME:ARGUMENT.
            report: called at the beginning of each step.

        Returns:
            False if it was enabled already, with this argument.

        Raises:
            ClusterError: there is no such add-on, its argument has faults, or it does not begin to work.
        """
        addon, argument = parse(word)
        with self._lock:
            before = self._enabled.get(addon.name)
            argument = before if before is not None and not argument else addon.check(argument)
            report(addon.title if before in (None, argument) else f"{addon.title}, with {argument} instead of {before}")
            self._enabled[addon.name] = argument  # from now on there may be something to disable
            self._give_images(addon.name)
            self._apply(addon, addon.manifests(argument), report)
        return before != argument

    def disable(self, name: str, report: Report) -> bool:
        """Take an add-on from the cluster, and return when all of its objects are gone.

        Args:
            name: the add-on's.
            report: called at the beginning of each step.

        Returns:
            False if it was not enabled.

        Raises:
            ClusterError: there is no such add-on, or something of it does not go away.
        """
        addon = find(name)
        with self._lock:
            if name not in self._enabled:
                return False
            report(f"removing {addon.title}")
            addon.withdraw(self._api, self._wait)
            self._delete(addon, addon.manifests(self._enabled[name]))
            del self._enabled[name]
        return True

    def _apply(self, addon: AddOn, manifests: Mapping[str, Object], report: Report) -> None:
        """Apply everything; what defines new kinds of objects first, since the others may be of these kinds."""
        for define in (True, False):
            part = {path: each for path, each in manifests.items() if (each["kind"] == DEFINITION) == define}
            for path, manifest in part.items():
                self._api.apply(path, manifest)
            workers = [each["metadata"]["name"] for each in part.values() if each["kind"] in WORKERS]
            if workers:
                report(f"waiting for {' and '.join(workers)}")
            awaited = [path for path, each in part.items() if each["kind"] in (DEFINITION, *WORKERS)]
            self._wait(addon.title, partial(self._do_their_work, awaited))

    def _do_their_work(self, paths: Iterable[str]) -> bool:
        nodes = sum(has_condition(node, "Ready") for node in self._api.get("/api/v1/nodes")["items"])
        return all(does_its_work(self._api.get(path), nodes) for path in paths)

    def _delete(self, addon: AddOn, manifests: Mapping[str, Object]) -> None:
        for path, manifest in reversed(list(manifests.items())):
            if manifest["kind"] == NAMESPACE:
                remove_namespace(Reader(self._api), manifest["metadata"]["name"])
            elif self._api.find(path):  # somebody may have used `kubectl delete`
                self._api.delete(path)
        self._wait(f"{addon.title} to be gone", lambda: not any(map(self._api.find, manifests)))
