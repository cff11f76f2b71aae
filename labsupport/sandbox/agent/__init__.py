"""The part of a lab that runs inside it.

`labsupport.sandbox.launch` sends these modules, compiled, to a fresh Python that has no site-packages. So they
import only cheap parts of the standard library and each other, and nothing else of labsupport; that is also why
they use `_signal` and `_socket`, which start several milliseconds faster than their public wrappers.

    wire         frames on the byte stream between client and agent
    syscalls     system calls that the standard library lacks
    identity     the outer user namespace and its id map
    filesystem   what the lab sees of the file system
    boot         puts the two together and starts PID 1
    jobs         one running command
    observer     the host's programs on the lab's network, out of the lab's reach
    client       one client and the requests that it may make
    serve        PID 1: the event loop
"""
