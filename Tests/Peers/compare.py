#!/usr/bin/env python3
"""Runs one client's script of operations on two OCI runtimes and says where the visible results differ.

usage: compare.py podman|docker|containerd --layout FOLDER:TAG --runtime NAME=PATH --runtime NAME=PATH [--only REGEX | --script TEXT] [--json FILE] [--legacy] [--show]

The first runtime is the one that is known to be good. Everything runs in mount and pid namespaces of its own, with a /run and /dev/shm
of its own: nothing of the machine's own engines is touched, and no daemon, shim or mount outlives this program. cgroups are below
/lunette-peers-PID and removed at the end.
  --legacy   without the v2 tree of a hybrid machine (crun refuses a hybrid one)
"""
import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

import containerd_operations
import operations
from clients import CLIENTS
from operation import Operation

HERE = os.path.dirname(os.path.abspath(__file__))
INSIDE = "LUNETTE_PEERS_INSIDE"
SET_UP = """
mount --make-rshared / && mount -t tmpfs tmpfs /run && mount -t tmpfs -o mode=1777 tmpfs /dev/shm || exit 1
if [ "$1" = legacy ]; then umount /sys/fs/cgroup/unified 2>/dev/null; fi
shift
"$@"
exit $?
"""
# What every operation may use. An operation is a bash script; what it prints and its exit code are the visible result.
PRELUDE = r"""
run() { c run "${F[@]}" "$@"; }
create() { c create "${F[@]}" "$@"; }
tty() { python3 "$HERE/terminal.py" "$@"; }
# eventually COMMAND…: waits until it succeeds, for what the client reports a moment later.
eventually() { local n; for n in $(seq 200); do if "$@" >/dev/null 2>&1; then return 0; fi; sleep 0.1; done; echo "never: $*"; return 99; }
field() { c inspect --format "$1" "${2-$N}"; }
pid() { field '{{.State.Pid}}' "$@"; }
# cgroup CONTROLLER FILE [NAME]: what a file of the container's cgroup says, read outside.
cgroup_of() { awk -F: -v want="$1" '$2 == want || $2 ~ "(^|,)" want "(,|$)" { print $3 }' "/proc/$2/cgroup"; }
cgroup() { cat "/sys/fs/cgroup/$1$(cgroup_of "$1" "$(pid "${3-$N}")")/$2"; }
said() { c logs "${2-$N}" 2>&1 | grep -q -- "$1"; }
"""


def normal(text, home, runtimes):
    for name, path in sorted(runtimes.items(), reverse=True):
        text = text.replace(path, "RUNTIME").replace("peer-" + name, "RUNTIME").replace("op-" + name, "op").replace(f"/{name}/", "/RUNTIME/")
    text = text.replace(home, "HOME")
    # A Docker daemon without bridge and forwarding says so at every other command.
    text = re.sub(r"(WARNING: )?IPv4 forwarding is disabled.*\n", "", text)
    text = re.sub(r"\b[0-9a-f]{64}\b", "ID", text)
    return re.sub(r'time="[^"]*"', 'time=""', text)


def mounts(text):
    """mountinfo as what is where and how, without numbers and orders that mean nothing."""
    lines = []
    for line in text.splitlines():
        left, _, right = line.partition(" - ")
        fields = left.split()
        if "/sys/fs/cgroup/systemd" in fields:
            continue  # systemd's own hierarchy of v1: docs/peers.md
        if len(fields) < 6 or not right:
            lines.append(line)
            continue
        kind, _, *options = right.split()
        if fields[4].startswith(("/proc/", "/sys/")) and kind in ("tmpfs", "devtmpfs"):
            lines.append(f"{fields[4]} masked")  # by what isn't seen from inside
            continue
        if fields[4] == "/" or kind == "cgroup":
            fields = fields[:6]  # ours is private, runc's a slave of the host's: docs/peers.md
        # A layered root's paths and a tree of the host differ by nature.
        shown = "" if kind in ("overlay", "ext4", "cgroup", "tmpfs", "devpts", "proc", "sysfs", "mqueue") else options[0]
        if kind in ("tmpfs", "devpts"):
            shown = ",".join(sorted(o for o in options[0].split(",") if not o.startswith(("inode", "nr_inodes"))))
        propagation = " ".join(sorted(re.sub(r":\d+", "", word) for word in fields[6:]))
        lines.append(" ".join([fields[4], kind, ",".join(sorted(fields[5].split(","))), shown, propagation]).strip())
    return "\n".join(sorted(lines)) + "\n"


FILTERS = {None: lambda text: text, "mounts": mounts, "sorted": lambda text: "\n".join(sorted(text.splitlines())) + "\n"}


class Run:
    def __init__(self, client, runtime, home):
        self.client, self.runtime, self.home = client, runtime, home
        self.results = {}

    def operation(self, number, operation):
        work = f"{self.home}/work/{self.runtime}/{number}"
        os.makedirs(work)
        script = PRELUDE + self.client.prelude(self.runtime) + operation.script
        environment = {**os.environ, "HERE": HERE, "N": f"op-{self.runtime}-{number}", "W": work, "I": self.client.image, "RUNTIME": self.client.runtimes[self.runtime],
                       "DOCKER_CLI_HINTS": "false", "STATE": self.client.state_folder(self.runtime) or "", "PARENT": self.client.parent(self.runtime)}
        started = time.monotonic()
        with open(f"{work}/.out", "w+b") as out, open(f"{work}/.err", "w+b") as err:
            process = subprocess.Popen(["bash", "-uo", "pipefail", "-c", script], env=environment, cwd=work, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                                       start_new_session=True)
            try:
                code = process.wait(operation.limit)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                code = process.wait()
                err.write(f"\nstill running after {operation.limit} s".encode())
            out.seek(0), err.seek(0)
            text = FILTERS[operation.filter](out.read().decode(errors="replace"))
            errors = err.read().decode(errors="replace")
        self.results[operation.name] = {
            "code": code, "out": normal(text, self.home, self.client.runtimes), "err": normal(errors, self.home, self.client.runtimes),
            "seconds": round(time.monotonic() - started, 2),
        }
        if "$N" in operation.script:
            clean = PRELUDE + self.client.prelude(self.runtime) + self.client_clean
            done = subprocess.run(["bash", "-c", clean], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
            self.results[operation.name]["clean"] = (done.stdout + done.stderr).strip()

    @property
    def client_clean(self):
        return containerd_operations.CLEAN if self.client.name == "containerd" else operations.CLEAN

    def all(self, wanted):
        for number, operation in enumerate(wanted):
            self.operation(number, operation)


def shortcomings(operation, name, result):
    """What an operation must do and didn't on one runtime."""
    complaints = []
    if result["code"] != operation.code:
        complaints.append(f"exit code {result['code']} on {name}, must be {operation.code}")
    if operation.out is not None and result["out"].strip() != operation.out.strip():
        complaints.append(f"prints on {name}: {result['out'].strip()!r}, must be {operation.out.strip()!r}")
    if operation.says and not re.search(operation.says, result["out"] + result["err"]):
        complaints.append(f"says nothing like /{operation.says}/ on {name}: {result['err'].strip()[-600:]!r}")
    return complaints


def judge(operation, good, tested, names):
    """The complaints about one operation: a list of lines, empty when all is as it must be."""
    complaints = shortcomings(operation, names[0], good) + shortcomings(operation, names[1], tested)
    if (good["code"], good["out"]) != (tested["code"], tested["out"]):
        complaints.append(f"differs: {names[0]} {good['code']} {good['out']!r}\n         {names[1]} {tested['code']} {tested['out']!r}")
    if complaints:
        complaints.append(f"stderr on {names[1]}: {tested['err'].strip()[-1500:]}")
    return complaints


def remove_cgroups(name):
    """Removes the trees below /NAME; what has just ended may need a moment."""
    for attempt in range(50):
        left = []
        for controller in os.listdir("/sys/fs/cgroup"):
            top = f"/sys/fs/cgroup/{controller}/{name}"
            for folder, _, _ in os.walk(top, topdown=False):
                try:
                    os.rmdir(folder)
                except OSError:
                    left.append(folder)
        if not left:
            return []
        time.sleep(0.1)
    return left


def leftovers(client, runtime):
    """What a runtime has left once all its containers were removed: states, cgroups, processes. Waits for what is on its way out."""
    for attempt in range(100):
        left = []
        folder = client.state_folder(runtime)
        root = ["--root", folder] if folder else []
        listed = subprocess.run([client.runtimes[runtime], *root, "list", "-q"], capture_output=True, text=True)
        left += [f"state of {line}" for line in listed.stdout.split()]
        if listed.returncode != 0 and not (folder and not os.path.exists(folder)):
            left.append(f"list: exit code {listed.returncode}: {listed.stderr.strip()}")
        if folder and os.path.isdir(folder):
            # Compiled seccomp filters are kept under their digest.
            left += [f"state folder {name}" for name in os.listdir(folder) if name != ".seccomp"]
        for controller in os.listdir("/sys/fs/cgroup"):
            top = f"/sys/fs/cgroup/{controller}{client.parent(runtime)}"
            for path, folders, _ in os.walk(top):
                left += [f"cgroup {path}/{name}" for name in folders if name != "conmon"]
        if not left or attempt == 99:
            return left
        time.sleep(0.1)


def processes_left(client):
    for attempt in range(100):
        left = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                words = open(f"/proc/{pid}/cmdline", "rb").read().replace(b"\0", b" ").decode(errors="replace")
                program = os.readlink(f"/proc/{pid}/exe")
            except OSError:
                continue
            if int(pid) in (1, os.getpid(), *[process.pid for process in client.processes]) or pid == str(os.getpid()):
                continue
            if any(part in program for part in ("conmon", "containerd-shim", "lunette", "runc", "busybox")):
                left.append(f"process {pid} {words.strip()}")
        if not left or attempt == 99:
            return left
        time.sleep(0.1)


def executable(parser, pair):
    """NAME and the full path of NAME=PATH: a daemon looks for a relative one elsewhere."""
    name, _, path = pair.partition("=")
    found = shutil.which(path, path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    if not found:
        parser.error(f"--runtime {pair}: nothing that can be executed is there" if path else f"--runtime {pair}: write NAME=PATH")
    return name, os.path.abspath(found)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("client", choices=sorted(CLIENTS))
    parser.add_argument("--layout", required=True)
    parser.add_argument("--runtime", action="append", required=True)
    parser.add_argument("--only")
    parser.add_argument("--script", help="an operation of your own instead of the client's")
    parser.add_argument("--json")
    parser.add_argument("--legacy", action="store_true")
    parser.add_argument("--show", action="store_true")
    options = parser.parse_args()
    runtimes = dict(executable(parser, pair) for pair in options.runtime)
    if INSIDE not in os.environ:
        line = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private", "bash", "-c", SET_UP, "bash",
                "legacy" if options.legacy else "as-is", sys.executable, os.path.abspath(__file__), *sys.argv[1:]]
        os.execvpe(line[0], line, {**os.environ, INSIDE: "1", "PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"})

    # An end from outside still removes what is on the machine.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    names = list(runtimes)
    home = tempfile.mkdtemp(prefix="lunette-peers.", dir="/tmp")
    os.chmod(home, 0o711)  # a user namespace's root has to come through
    group = os.path.basename(home).replace(".", "-")
    client = CLIENTS[options.client](home, options.layout, runtimes, group)
    table = containerd_operations.OPERATIONS if options.client == "containerd" else operations.for_client(options.client)
    if options.script:
        table = [Operation("yours", (containerd_operations.USE if options.client == "containerd" else "") + options.script, limit=600)]
    wanted = [operation for operation in table if not options.only or re.search(options.only, operation.name)]
    failed, report = 0, []
    try:
        client.start()
        runs = [Run(client, name, home) for name in names]
        threads = [threading.Thread(target=run.all, args=(wanted,)) for run in runs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for number, operation in enumerate(wanted):
            # A client loses what a program says that ends at once, now and then, also on runc (ctr's fifos): then there is nothing to compare with, and the
            # reference is asked again. The runtime under test is asked once.
            for attempt in (1, 2):
                reason = (operation.differs or {}).get(client.name)
                lost = shortcomings(operation, names[0], runs[0].results[operation.name])
                if reason or not lost:
                    break
                print(f"  {client.name}: {operation.name}: {names[0]} is asked again: {lost[0]}")
                runs[0].operation(1000 * attempt + number, operation)
            results = [run.results[operation.name] for run in runs]
            complaints = judge(operation, results[0], results[-1], [names[0], names[-1]])
            reason = (operation.differs or {}).get(client.name)
            if reason:
                # What depends on the caller may also be the same.
                is_certain = not reason.endswith("(perhaps)")
                complaints = [f"is listed as different ({reason}), but isn't"] if is_certain and not complaints else []
            report.append({"operation": operation.name, "complaints": complaints, "differs": reason, "seconds": results[-1]["seconds"]})
            if options.show:
                print(f"{operation.name}: {json.dumps(dict(zip(names, results)), indent=1)}")
        for name in dict.fromkeys(names):
            report.append({"operation": f"nothing is left of {name}'s containers", "complaints": leftovers(client, name), "differs": None, "seconds": 0})
        report.append({"operation": "no process is left", "complaints": processes_left(client), "differs": None, "seconds": 0})
    finally:
        client.stop()
        subprocess.run(["bash", "-c", f"awk '$5 ~ \"^{home}\" {{ print $5 }}' /proc/self/mountinfo | sort -r | xargs -r -n1 umount -l"])
        for attempt in range(20):
            shutil.rmtree(home, ignore_errors=True)
            if not os.path.exists(home):
                break
            time.sleep(0.1)
        left = remove_cgroups(group)
    report.append({"operation": "the cgroups can be removed", "complaints": left, "differs": None, "seconds": 0})
    for line in report:
        if line["complaints"]:
            failed += 1
            print(f"FAILED {options.client}: {line['operation']}")
            for complaint in line["complaints"]:
                print("     " + complaint.replace("\n", "\n     "))
    if options.json:
        json.dump(report, open(options.json, "w"))
    if options.show:
        print("slowest:", *[f"{line['seconds']} {line['operation']}" for line in sorted(report, key=lambda line: -line["seconds"])[:15]], sep="\n  ")
    listed = sum(1 for line in report if line["differs"])
    print(f"{options.client}: {len(report)} operations, {failed} failed, {listed} listed as different")
    sys.exit(1 if failed else 0)


main()
