"""Section 5: epoll."""
