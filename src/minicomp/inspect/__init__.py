"""`minicomp inspect`: the file descriptors of a process, and which of them are one and the same open file.

What the kernel keeps behind an fd (its kind, a dma-buf's size and references, what epoll watches, queued bytes and fds,
the shared `struct file`) made visible from /proc, sock_diag and kcmp(2). Reads only; knows nothing of the compositor.
"""
