"""Pictures of a lab, drawn from its live state."""

from labsupport.cluster.endpoints import ServiceEndpoint, service_endpoints
from labsupport.views.frame_arrows import draw_frames
from labsupport.views.frame_stepper import step_frames
from labsupport.views.frame_table import frame_table
from labsupport.views.picture import Picture
from labsupport.views.route_chooser import choose_route
from labsupport.views.service_picture import draw_service
from labsupport.views.topology import draw
from labsupport.views.walk_picture import draw_walk
from labsupport.views.walk_stepper import step_walk
from labsupport.views.walk_table import walk_table

__all__ = [
    "Picture",
    "ServiceEndpoint",
    "choose_route",
    "draw",
    "draw_frames",
    "draw_service",
    "draw_walk",
    "frame_table",
    "service_endpoints",
    "step_frames",
    "step_walk",
    "walk_table",
]
