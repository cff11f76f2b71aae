"""Pictures of a lab, drawn from its live state."""

from labsupport.views.picture import Picture
from labsupport.views.topology import draw

__all__ = ["Picture", "draw"]
