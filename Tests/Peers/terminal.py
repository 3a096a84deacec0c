"""Runs a command at a pseudo-terminal of a given size, as a user at a keyboard would see it.

usage: terminal.py COLUMNSxROWS [--type TEXT]… [--resize COLUMNSxROWS] -- COMMAND…

Typing and resizing wait until the command has said "ready". What the terminal shows goes to stdout, the exit code is the command's.
"""
import fcntl
import os
import pty
import select
import struct
import sys
import termios
import time

LIMIT = 40  # seconds, for a command that never ends


def size_of(text):
    columns, rows = text.split("x")
    return struct.pack("HHHH", int(rows), int(columns), 0, 0)


def main(arguments):
    size, typed, resize = size_of(arguments.pop(0)), [], None
    while arguments[0] != "--":
        option, value = arguments.pop(0), arguments.pop(0)
        if option == "--type":
            typed.append(value.encode().decode("unicode_escape").encode())
        elif option == "--resize":
            resize = size_of(value)
        else:
            raise SystemExit(f"terminal.py: unknown option {option}")
    command = arguments[1:]
    gate_read, gate_write = os.pipe()
    pid, master = pty.fork()
    if pid == 0:
        os.read(gate_read, 1)  # the size is set first
        os.execvp(command[0], command)
    fcntl.ioctl(master, termios.TIOCSWINSZ, size)
    os.write(gate_write, b"x")
    shown, until = b"", time.monotonic() + LIMIT
    while time.monotonic() < until:
        if not select.select([master], [], [], 1)[0]:
            continue
        try:
            more = os.read(master, 65536)
        except OSError:  # EIO: the last one who had it open has closed it
            break
        if not more:
            break
        shown += more
        if b"ready" in shown and (typed or resize):
            if resize:
                fcntl.ioctl(master, termios.TIOCSWINSZ, resize)
                resize = None
            for text in typed:
                os.write(master, text)
            typed = []
    else:
        os.kill(pid, 9)
    sys.stdout.buffer.write(shown.replace(b"\r\n", b"\n"))
    status = os.waitpid(pid, 0)[1]
    sys.exit(os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status))


main(sys.argv[1:])
