"""Code for a copy of a lab's PID 1 that the sandbox itself needs, beside the agent; see labsupport.sandbox.portable."""
