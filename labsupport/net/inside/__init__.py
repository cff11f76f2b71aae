"""Runs inside a lab, in a copy of its PID 1 (`Lab.fork`), for `labsupport.net`: small, and without its other code."""
