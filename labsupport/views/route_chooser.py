"""A widget to move a destination address about, and see which route wins."""

from __future__ import annotations

from ipaddress import AddressValueError, IPv4Address
from typing import TYPE_CHECKING, Any

from labsupport.errors import LabError, LessonError
from labsupport.net import route_get, routes
from labsupport.sandbox import Lab
from labsupport.views.interactive import Interactive
from labsupport.views.route_match import Choice, choose, edges
from labsupport.views.route_table import as_html, as_text

if TYPE_CHECKING:
    from labsupport.net import Route

_EXAMPLE = "10.0.0.7"
_EDGE = "at the edge of a prefix: its first, its last, or one beside"


def choose_route(lab: Lab, namespace: str = "", destination: str = "192.0.2.1") -> RouteChooser:
    """Return a widget that shows which route of a namespace wins for a destination, and why.

    It makes visible what "longest prefix match" means: the bits of every prefix stand below the bits of the address.
    The kernel's own answer (`ip route get`) stands beside; where it is another one, the widget says so.

    Args:
        lab: where to look. It is read, never changed.
        namespace: whose routes: the IPv4 routes of its table main.
        destination: the address to begin with.

    Raises:
        LessonError: `destination` is no IPv4 address.
        NamespaceNotFound: there is no such namespace.
        CommandFailed, LabClosed, LabDied: the routes could not be read.
    """
    return RouteChooser(lab, namespace, destination)


class RouteChooser(Interactive):
    """What `choose_route` returns. Assign to `destination` to move without a mouse or a browser."""

    def __init__(self, lab: Lab, namespace: str, destination: str) -> None:
        self._lab = lab
        self._namespace = namespace
        self._address = parse_destination(destination)
        self._read()
        super().__init__()

    @property
    def destination(self) -> str:
        """The address that it shows; assign another one to move there."""
        return str(self._address)

    @destination.setter
    def destination(self, text: str) -> None:
        self._move(parse_destination(text))

    @property
    def text(self) -> str:
        """All that it shows now."""
        return as_text(self._namespace, self._choice, self._answer)

    def _make_controls(self) -> list[Any]:
        import ipywidgets  # noqa: PLC0415

        self._field: Any = ipywidgets.Text(description="Destination", value=self.destination, continuous_update=False,
                                           style={"description_width": "initial"}, layout={"width": "22em"})
        before = ipywidgets.Button(description="Previous edge", tooltip=f"the next lower address {_EDGE}")
        behind = ipywidgets.Button(description="Next edge", tooltip=f"the next higher address {_EDGE}")
        again = ipywidgets.Button(description="Read again", tooltip="read the routes again from the kernel")
        self._field.observe(self._on_text, "value")
        before.on_click(lambda _: self._jump(-1))
        behind.on_click(lambda _: self._jump(1))
        again.on_click(lambda _: self._try(self._address))
        return [self._field, before, behind, again]

    def _page(self) -> str:
        return as_html(self._namespace, self._choice, self._answer)

    def _on_text(self, change: dict[str, Any]) -> None:
        try:
            address = parse_destination(change["new"])
        except LessonError as problem:
            self._show(f"{problem.observed} is no IPv4 address: write {problem.expected}."
                       f" What follows is still about {self._address}.")
            return
        if address != self._address:
            self._try(address)
        else:
            self._show()

    def _jump(self, step: int) -> None:
        """Go to the next edge, round the end if there is none behind."""
        known = edges([match.route for match in self._choice.matches])
        if not known:
            self._show("No route here has a prefix of its own, so there is no edge to go to.")
            return
        further = [one for one in known if (one > self._address if step > 0 else one < self._address)]
        self._try((further or known)[0 if step > 0 else -1])

    def _try(self, address: IPv4Address) -> None:
        try:
            self._move(address)
        except LabError as problem:
            self._show(f"The routes could not be read: {problem.what}. {problem.next_step}".rstrip())

    def _move(self, address: IPv4Address) -> None:
        before, self._address = self._address, address
        try:
            self._read()
        except LabError:
            self._address = before
            raise
        self._field.value = self.destination
        self._show()

    def _read(self) -> None:
        """Look at the routes anew with every move, so that what `ip route` did meanwhile is seen."""
        self._choice: Choice = choose(routes(self._lab, self._namespace), self._address)
        self._answer: Route | None = route_get(self._lab, self._namespace, self.destination)


def parse_destination(text: str) -> IPv4Address:
    """Return the address that a text says.

    Raises:
        LessonError: it is no IPv4 address.
    """
    try:
        return IPv4Address(text.strip())
    except AddressValueError:
        raise LessonError(
            "this is no IPv4 address", where="choose_route", observed=text.strip() or "an empty text",
            expected=f"four numbers from 0 to 255 with dots between them, such as {_EXAMPLE}",
            next_step="write one address, without a prefix length",
        ) from None
