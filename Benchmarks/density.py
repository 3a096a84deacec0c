"""The case `density`: many running containers. What one more costs in memory beside its own program, at first and when commands have been run in it as a
health check does, and in time when many run."""
import os
import shutil
import subprocess
import time

from measure import CGROUP, PODMAN_FLAGS, median, median_kib, ms, parent, podman, private_kib, remove_cgroup, table


EXECS = 6


def podman_monitors(bench, root, count=8):
    """Private KiB of conmon, by container: at first, and after EXECS commands each."""
    command = podman(bench.home)
    names, sizes = [], []
    try:
        for _ in range(count):
            made = subprocess.run([*command, "run", "-d", *PODMAN_FLAGS, "--rootfs", root, "/bin/sleep", "1000"], text=True, capture_output=True)
            if made.returncode != 0:
                return None, made.stderr.strip().split("\n")[-1]
            names.append(made.stdout.strip())
        monitors = []
        for name in names:
            state = subprocess.run(["runc", "--root", bench.home + "/prunc", "state", name], text=True, capture_output=True, check=True).stdout
            monitors.append(parent(int(state.split('"pid":')[1].split(",")[0])))
        sizes.append([private_kib(monitor) for monitor in monitors])
        for name in names * EXECS:
            subprocess.run([*command, "exec", name, "/bin/true"], capture_output=True, check=True)
        sizes.append([private_kib(monitor) for monitor in monitors])
    finally:
        subprocess.run([*command, "rm", "-f", "-t", "0", *names], capture_output=True)
        remove_cgroup()
    return sizes, None


def containerd_shims(bench, root, count=8):
    """Private KiB of containerd's shim, by container: at first, and after EXECS commands each."""
    if not shutil.which("containerd"):
        return None, "containerd is not installed"
    folder, sizes, names = bench.home + "/containerd", [], [f"density-{number}" for number in range(count)]
    os.makedirs(folder)
    with open(folder + "/config.toml", "w") as config:
        config.write(f'version = 2\nroot = "{folder}/root"\nstate = "{folder}/state"\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
                     f'[grpc]\naddress = "{folder}/socket"\n[ttrpc]\naddress = "{folder}/socket.ttrpc"\n')
    with open(folder + "/log", "w") as log:
        daemon = subprocess.Popen(["containerd", "-c", folder + "/config.toml"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    ctr = ["ctr", "-a", folder + "/socket", "-n", CGROUP]
    try:
        until = time.monotonic() + 30
        while subprocess.run([*ctr, "version"], capture_output=True).returncode != 0:
            if time.monotonic() > until:
                return None, "containerd didn't start"
            time.sleep(0.1)
        for name in names:
            made = subprocess.run([*ctr, "run", "-d", "--null-io", "--runc-root", folder + "/runc", "--rootfs", root, name, "/bin/sleep", "1000"], text=True, capture_output=True)
            if made.returncode != 0:
                return None, made.stderr.strip().split("\n")[-1]
        listed = subprocess.run([*ctr, "tasks", "ls"], text=True, capture_output=True, check=True).stdout
        shims = [parent(int(line.split()[1])) for line in listed.splitlines()[1:]]
        sizes.append([private_kib(shim) for shim in shims])
        for number, name in enumerate(names * EXECS):
            subprocess.run([*ctr, "tasks", "exec", "--exec-id", f"e{number}", name, "/bin/true"], stdin=subprocess.DEVNULL, capture_output=True, check=True)
        sizes.append([private_kib(shim) for shim in shims])
    finally:
        for name in names:
            subprocess.run([*ctr, "tasks", "rm", "-f", name], capture_output=True)
            subprocess.run([*ctr, "containers", "rm", name], capture_output=True)
        daemon.terminate()
        daemon.wait()
        remove_cgroup()
    return sizes, None


def cells(sizes, unit=None):
    """KiB and its ratio to ours, private and dirty."""
    return [cell for index, kib in enumerate(sizes) for cell in (f"{kib:.0f}", f"{kib / unit[index]:.1f}" if unit else "")]


def case(bench, root, image):
    count = bench.options.containers
    client = subprocess.Popen([bench.binary, os.path.dirname(os.path.abspath(__file__)) + "/density.lua", image, str(count)], env=bench.environment,
                              text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        times, pids = [], []
        for line in client.stdout:
            if line.strip() == "all":
                break
            took, pid = line.split()
            times.append(float(took))
            pids.append(int(pid))
        if len(pids) != count:
            raise SystemExit(f"density: {len(pids)} of {count} containers started")
        shims = [parent(pid) for pid in pids]
        engine = parent(shims[0])
        if "lunette" not in os.readlink(f"/proc/{engine}/exe"):
            raise SystemExit(f"density: process {engine}, the shims' parent, is not the engine")
        sizes = [([private_kib(pid) for pid in shims], private_kib(engine))]
        client.stdin.write("exec\n")
        client.stdin.flush()
        if client.stdout.readline().strip() != "done":
            raise SystemExit("density: the commands in the containers failed")
        sizes.append(([private_kib(pid) for pid in shims], private_kib(engine)))
    finally:
        client.stdin.close()
        client.wait()
        names = subprocess.run([bench.binary, "ps", "-q"], env=bench.environment, text=True, capture_output=True).stdout.split()
        if names:
            subprocess.run([bench.binary, "rm", "-f", *names], env=bench.environment, capture_output=True)
    peers = [(name, *measure(bench, root), aim) for name, measure, aim in (("podman: conmon", podman_monitors, 3), ("containerd: shim", containerd_shims, 40))]
    for number, when in enumerate((f"{count} running", f"after {EXECS} commands in each")):
        shims_kib, engine_kib = sizes[number]
        shim, share = median_kib(shims_kib), [kib / count for kib in engine_kib]
        ours = [one + other for one, other in zip(shim, share)]
        rows = [["lunette: shim", *cells(shim)], ["lunette: engine / containers", *cells(share)], ["lunette: both", *cells(ours, ours)]]
        for name, theirs, reason, aim in peers:
            rows.append([f"{name} (aim: ≥ {aim} ×)", *cells(median_kib(theirs[number]), ours)] if theirs else [name, reason[:60], "", "", ""])
        table(f"density: private memory per container, {when}", ["", "KiB", "× lunette", "dirty", "× lunette"], rows)
    first, last = times[1:21], times[-20:]
    table("density: from create to running, medians of twenty (aim: ≤ 1.3)", ["", "ms", "ratio"],
          [["the first", ms(median(first)), "1.00"], [f"the {count}th", ms(median(last)), f"{median(last) / median(first):.2f}"]])
