"""The case `oci`: one bundle under each OCI runtime, as a process: `run`, then `create`, `start`, `exec` and `delete` each."""
import json
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time

from measure import PODMAN_FLAGS, PRIVATE, median, ms, percentile, podman, remove_cgroup, table


def podman_bundle(bench, root, folder):
    """A bundle as Podman writes it: taken from a container that Podman has set up and that is kept for as long as its files are bound."""
    command = podman(bench.home)
    made = subprocess.run([*command, "create", *PODMAN_FLAGS, "--memory", "256m", "--pids-limit", "200", "--rootfs", root, "/bin/true"],
                          text=True, capture_output=True)
    if made.returncode != 0:
        return None, (made.stderr.strip().split("\n") or ["podman create failed"])[-1], lambda: None
    name = made.stdout.strip()

    def remove():
        subprocess.run([*command, "rm", "-f", "-t", "0", name], capture_output=True)
        remove_cgroup()

    started = subprocess.run([*command, "init", name], text=True, capture_output=True)
    if started.returncode != 0:
        remove()
        return None, started.stderr.strip().split("\n")[-1], lambda: None
    config = json.load(open(f"{bench.home}/p/vfs-containers/{name}/userdata/config.json"))
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    del config["linux"]["cgroupsPath"]
    config.pop("hooks", None)
    json.dump(config, open(folder + "/config.json", "w"))
    return folder, None, remove


def sleeping(folder, target):
    """The same bundle, running until it is ended."""
    shutil.rmtree(target, ignore_errors=True)
    os.makedirs(target)
    config = json.load(open(folder + "/config.json"))
    config["process"]["args"] = ["/bin/sleep", "1000"]
    json.dump(config, open(target + "/config.json", "w"))
    return target


class Runtime:
    def __init__(self, bench, name, program):
        self.bench, self.name = bench, name
        self.command = [program, "--root", f"{bench.fast}/oci-{name}"]
        self.number = 0

    def timed(self, *arguments):
        """Seconds from spawn to exit, or None and what it said. A container that stays holds no pipe of ours."""
        with tempfile.TemporaryFile("w+") as said:
            done = subprocess.run([*PRIVATE, self.bench.work("spawn"), "1", *self.command, *arguments], stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=said, text=True)
            if done.returncode != 0:
                said.seek(0)
                return None, (said.read().strip() or f"exit code {done.returncode}").split("\n")[0]
        return int(done.stdout) / 1e9, None

    def life(self, folder, times):
        """One container's life; adds to `times` by verb. Returns what failed, or None."""
        self.number += 1
        name, pid_file = f"bench-{self.name}-{self.number}", f"{self.bench.home}/pid-{self.name}"
        steps = [("create", ["create", "--bundle", folder, "--pid-file", pid_file, name]), ("start", ["start", name]),
                 ("exec", ["exec", name, "/bin/true"])]
        failure = None
        for verb, arguments in steps:
            taken, failure = self.timed(*arguments)
            if failure:
                break
            times.setdefault(verb, []).append(taken)
        try:
            pid = int(open(pid_file).read())
            os.kill(pid, signal.SIGKILL)
            # Ended is what nobody has left to run: a zombie waits for init here.
            while open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0] not in "ZX":
                time.sleep(0.001)
        except (OSError, ValueError):
            pass
        if failure:
            subprocess.run([*PRIVATE, *self.command, "delete", "--force", name], stdin=subprocess.DEVNULL, capture_output=True)
            return failure
        taken, failure = self.timed("delete", name)
        if failure:
            return failure
        times.setdefault("delete", []).append(taken)
        return None


def case(bench, root, plain):
    ours = "lunette-oci"
    programs = {ours: os.path.join(bench.options.bin, ours), "crun": shutil.which("crun"), "runc": shutil.which("runc", path=os.environ["PATH"] + ":/usr/sbin")}
    runtimes = {name: Runtime(bench, name, program) for name, program in programs.items() if program and os.path.exists(program)}
    if ours not in runtimes:
        raise SystemExit(f"no {ours} in {bench.options.bin}")
    # Each life is run as often as its price allows.
    every = {ours: 1, "crun": 2, "runc": 4}
    folder, reason, release = podman_bundle(bench, root, bench.work("bundle-podman"))
    try:
        bundles = {"a bundle as `runc spec` writes it": plain}
        if folder:
            bundles["a bundle as Podman writes it: limits, seccomp, binds"] = folder
        else:
            print(f"  no bundle of Podman's: {reason}")
        for title, bundle in bundles.items():
            runs(bench, root, title, bundle, runtimes, ours)
            lives(bench, title, sleeping(bundle, bench.work("bundle-sleeping")), runtimes, every, ours)
    finally:
        release()


def runs(bench, root, title, bundle, runtimes, ours):
    commands = {
        "floor": [bench.work("floor"), root, "/bin/true"],
        "bubblewrap": ["bwrap", "--unshare-all", "--bind", root, "/", "--proc", "/proc", "--dev", "/dev", "/bin/true"],
        **{name: [*runtime.command, "run", "--bundle", bundle, "bench-" + name] for name, runtime in runtimes.items()},
    }
    # In rows of one program, the rows in another order each time: what a run leaves to the kernel to take apart is paid for by the run after it, so a
    # row begins a second after the last one, and its first runs don't count.
    times, failures, order, row, strangers = {name: [] for name in commands}, {}, random.Random(1), 12, 2
    for _ in range(max(1, bench.options.rounds // (row - strangers))):
        for name in order.sample(list(commands), len(commands)):
            if name in failures:
                continue
            time.sleep(1)
            taken, failure = bench.spawned(PRIVATE, commands[name], row)
            if failure:
                failures[name] = failure
            else:
                times[name] += taken[strangers:]
    if not times[ours]:
        raise SystemExit(f"{ours}: {failures[ours]}")
    base, floor = median(times[ours]), median(times["floor"])
    rows = [[name, len(taken), ms(median(taken)), ms(percentile(taken, 0.9)), f"{median(taken) / floor:.2f}", f"{base / median(taken):.2f}"]
            if taken else [name, 0, "-", "-", "-", failures.get(name, "not run")[:60]] for name, taken in times.items()]
    table(f"oci: run /bin/true, {title} (aim: ours ≤ 0.7 × crun, ≤ 0.25 × runc, ≤ 1.8 × floor)",
          ["", "runs", "median ms", "p90 ms", "× floor", "ours is × of it"], rows)


def lives(bench, title, bundle, runtimes, every, ours):
    times, failures, order = {name: {} for name in runtimes}, {}, random.Random(2)
    for number in range(max(4, bench.options.rounds // 4)):
        for name in order.sample(list(runtimes), len(runtimes)):
            if number % every[name] or name in failures:
                continue
            failure = runtimes[name].life(bundle, times[name])
            if failure:
                failures[name] = failure
    verbs = ["create", "start", "exec", "delete"]
    rows = []
    for name, taken in times.items():
        if name in failures:
            rows.append([name, *["-"] * len(verbs), failures[name][:70]])
            continue
        rows.append([name, *[ms(median(taken[verb])) for verb in verbs],
                     " ".join(f"{median(times[ours][verb]) / median(taken[verb]):.2f}" if ours not in failures else "-" for verb in verbs)])
    table(f"oci: each verb of a life, {title}", ["", *[verb + " ms" for verb in verbs], "ours is × of it"], rows)
