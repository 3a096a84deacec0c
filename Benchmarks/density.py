"""The case `density`: many running containers. What one more costs in memory beside its own program, and in time when many run."""
import os
import shutil
import subprocess
import time

from measure import CGROUP, PODMAN_FLAGS, median, ms, parent, podman, private_kib, remove_cgroup, table


def podman_monitors(bench, root, count=8):
    """Private KiB of conmon, by container."""
    command = podman(bench.home)
    names, sizes = [], []
    try:
        for _ in range(count):
            made = subprocess.run([*command, "run", "-d", *PODMAN_FLAGS, "--rootfs", root, "/bin/sleep", "1000"], text=True, capture_output=True)
            if made.returncode != 0:
                return None, made.stderr.strip().split("\n")[-1]
            names.append(made.stdout.strip())
        for name in names:
            state = subprocess.run(["runc", "--root", bench.home + "/prunc", "state", name], text=True, capture_output=True, check=True).stdout
            sizes.append(private_kib(parent(int(state.split('"pid":')[1].split(",")[0]))))
    finally:
        subprocess.run([*command, "rm", "-f", "-t", "0", *names], capture_output=True)
        remove_cgroup()
    return sizes, None


def containerd_shims(bench, root, count=8):
    """Private KiB of containerd's shim, by container."""
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
        for line in listed.splitlines()[1:]:
            sizes.append(private_kib(parent(int(line.split()[1]))))
    finally:
        for name in names:
            subprocess.run([*ctr, "tasks", "rm", "-f", name], capture_output=True)
            subprocess.run([*ctr, "containers", "rm", name], capture_output=True)
        daemon.terminate()
        daemon.wait()
        remove_cgroup()
    return sizes, None


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
        shim, share = median([private_kib(pid) for pid in shims]), private_kib(engine) / count
    finally:
        client.stdin.close()
        client.wait()
        names = subprocess.run([bench.binary, "ps", "-q"], env=bench.environment, text=True, capture_output=True).stdout.split()
        if names:
            subprocess.run([bench.binary, "rm", "-f", *names], env=bench.environment, capture_output=True)
    ours = shim + share
    rows = [["lunette: shim", f"{shim:.0f}", ""], ["lunette: engine / containers", f"{share:.0f}", ""], ["lunette: both", f"{ours:.0f}", "1.00"]]
    for name, (sizes, reason), aim in (("podman: conmon", podman_monitors(bench, root), 3), ("containerd: shim", containerd_shims(bench, root), 40)):
        rows.append([f"{name} (aim: ≥ {aim} ×)", f"{median(sizes):.0f}", f"{median(sizes) / ours:.1f}"] if sizes else [name, "-", reason[:60]])
    table(f"density: private memory per container, {count} running", ["", "KiB", "× lunette"], rows)
    first, last = times[1:21], times[-20:]
    table("density: from create to running, medians of twenty (aim: ≤ 1.3)", ["", "ms", "ratio"],
          [["the first", ms(median(first)), "1.00"], [f"the {count}th", ms(median(last)), f"{median(last) / median(first):.2f}"]])
