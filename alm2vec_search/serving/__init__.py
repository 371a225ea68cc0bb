"""The commands that only need the kernel, one a file: parse → build → call → print."""
