"""What every case of scripts/dev/bench shares: running shell, medians, tables, memory, Podman on folders of its own."""
import os
import statistics
import subprocess


def shell(line, **options):
    return subprocess.run(["bash", "-euo", "pipefail", "-c", line], check=True, text=True, capture_output=True, **options).stdout


def median(times):
    return statistics.median(times)


def percentile(times, share):
    return sorted(times)[min(len(times) - 1, int(len(times) * share))]


def table(title, head, rows):
    print(f"\n{title}")
    widths = [max(len(str(row[i])) for row in [head, *rows]) for i in range(len(head))]
    for row in [head, *rows]:
        print("  " + "  ".join(str(cell).ljust(width) if i == 0 else str(cell).rjust(width) for i, (cell, width) in enumerate(zip(row, widths))))


def ms(seconds):
    return f"{seconds * 1000:.2f}"


def private_kib(pid):
    """Memory that is a process's alone, and of it what only the process has (dirty): pages of its program's file are clean, and the page cache's; the kernel
    maps those around each that is used."""
    clean = dirty = 0
    for line in open(f"/proc/{pid}/smaps_rollup"):
        if line.startswith("Private_Clean"):
            clean += int(line.split()[1])
        if line.startswith("Private_Dirty"):
            dirty += int(line.split()[1])
    return clean + dirty, dirty


def median_kib(sizes):
    """Medians of `private_kib` of several processes."""
    return median([size for size, _ in sizes]), median([dirty for _, dirty in sizes])


def parent(pid):
    return int(open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[1])


# crun refuses a hybrid hierarchy whose v2 tree has no controllers: it is hidden, for all that are compared alike, in a mount namespace of its own.
PRIVATE = ["unshare", "-m", "--propagation", "private", "bash", "-c",
           'umount /sys/fs/cgroup/unified 2>/dev/null; exec "$@"', "bash"]

# Below this are the containers of engines that are compared; taken away with remove_cgroup.
CGROUP = "lunette-bench"
# Podman raises these to what root without CAP_SYS_RESOURCE may not.
PODMAN_FLAGS = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096", "--network", "none", "--cgroup-parent", "/" + CGROUP]


def podman(home):
    return ["podman", "--root", home + "/p", "--runroot", home + "/pr", "--tmpdir", home + "/pt", "--storage-driver", "vfs",
            "--cgroup-manager", "cgroupfs", "--events-backend", "none", "--runtime", "runc", "--runtime-flag", f"root={home}/prunc"]


def remove_cgroup():
    for controller in os.listdir("/sys/fs/cgroup"):
        for folder, _, _ in os.walk(f"/sys/fs/cgroup/{controller}/{CGROUP}", topdown=False):
            try:
                os.rmdir(folder)
            except OSError:
                pass  # the leak check names what is left
