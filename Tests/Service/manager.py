#!/usr/bin/env python3
"""Plays systemd for one service with Type=notify and sockets: manager.py [--watchdog SECONDS] [--abstract] [--cgroup NAME] --socket PATH[=NAME] … -- PROGRAM …

Listens at the sockets and starts the program at the first client, with LISTEN_FDS, NOTIFY_SOCKET and WATCHDOG_USEC as sd_listen_fds(3) and sd_notify(3) have
them. Prints a line for each thing that happens: `started PID`, `told TEXT`, `ended CODE`. Starts it again for the next client; SIGTERM stops it for good,
SIGHUP is passed on."""
import argparse, os, pathlib, select, signal, socket, sys, threading

parser = argparse.ArgumentParser()
parser.add_argument("--watchdog", type=float)
parser.add_argument("--abstract", action="store_true")
parser.add_argument("--cgroup")
parser.add_argument("--socket", action="append", default=[])
parser.add_argument("program", nargs="+")
options = parser.parse_args()

folder = pathlib.Path(options.socket[0].split("=")[0]).parent
folder.mkdir(mode=0o700, exist_ok=True)
places = [(text.split("=") + ["lunette.socket"])[:2] for text in options.socket]
listening = []
for path, _ in places:
    one = socket.socket(socket.AF_UNIX)
    pathlib.Path(path).unlink(missing_ok=True)
    one.bind(path)
    os.chmod(path, 0o600)
    one.listen(64)
    listening.append(one)

notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
name = f"{folder.parent}/notify"
notify.bind("\0" + name if options.abstract else name)


def say(*words):
    print(*words, flush=True)


def hear():
    while True:
        say("told", notify.recv(4096).decode().replace("\n", " "))


threading.Thread(target=hear, daemon=True).start()
child, stopping = 0, False


def passed_on(number, _):
    global stopping
    stopping = stopping or number == signal.SIGTERM
    if child:
        os.kill(child, number)
    elif stopping:
        sys.exit(0)


def hierarchies():
    for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines():
        parts = line.split()
        kind, options_ = parts[parts.index("-") + 1], parts[-1]
        if kind == "cgroup2" or kind == "cgroup" and "name=systemd" in options_:
            yield pathlib.Path(parts[4])


for number in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, passed_on)
while not stopping:
    select.select(listening, [], [])
    pid = os.fork()
    if pid == 0:
        environment = dict(os.environ, NOTIFY_SOCKET=("@" if options.abstract else "") + name, LISTEN_PID=str(os.getpid()))
        environment |= {"LISTEN_FDS": str(len(listening)), "LISTEN_FDNAMES": ":".join(name for _, name in places)}
        if options.watchdog:
            environment |= {"WATCHDOG_USEC": str(int(options.watchdog * 1e6)), "WATCHDOG_PID": str(os.getpid())}
        if options.cgroup:
            for hierarchy in hierarchies():
                (hierarchy / options.cgroup).mkdir(exist_ok=True)
                (hierarchy / options.cgroup / "cgroup.procs").write_text("0")
        # Far up first: an end may stand where another is to go.
        ends = [os.dup2(one.fileno(), 100 + index, inheritable=False) for index, one in enumerate(listening)]
        for index, end in enumerate(ends):
            os.dup2(end, 3 + index)
        os.closerange(3 + len(ends), 200)
        os.execve(options.program[0], options.program, environment)
    child = pid
    say("started", pid)
    _, status = os.waitpid(pid, 0)
    child = 0
    say("ended", os.waitstatus_to_exitcode(status))
