"""Pictures of switches, routers and hosts in layers.

plans -> arrange -> place -> strata -> draw: which boxes stand in which row; which port is on which edge; where
everything is from left to right; where it is from top to bottom, and how cables lead through the channels between; SVG.
"""

from labsupport.views.layers.draw import GOOD_WIDTH, draw_layers

__all__ = ["GOOD_WIDTH", "draw_layers"]
