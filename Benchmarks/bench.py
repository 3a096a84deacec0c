"""The cases of scripts/dev/bench. Every figure is a median of interleaved runs; what counts is the ratio within one run."""
import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import completion
import density
import oci
import scripting
from measure import PRIVATE, median, ms, percentile, private_kib, shell, table

HERE = os.path.dirname(os.path.abspath(__file__))
PROJECT = os.path.dirname(HERE)
IMAGE = "bench.lunette/busybox:1"


class Bench:
    def __init__(self, options):
        self.options = options
        self.home = tempfile.mkdtemp(prefix="l.", dir="/tmp")
        # Where OCI runtimes keep their state by themselves, /run, is a tmpfs on most machines; not on every.
        self.fast = tempfile.mkdtemp(prefix="l.", dir="/dev/shm")
        self.environment = {**os.environ, "LUNETTE_ROOT": self.home + "/r", "LUNETTE_STATE": self.home + "/s"}
        self.binary = os.path.join(options.bin, "lunette")

    def lunette(self, *arguments):
        done = subprocess.run([self.binary, *arguments], env=self.environment, text=True, capture_output=True)
        if done.returncode != 0:
            raise SystemExit(f"lunette {' '.join(arguments)}: exit code {done.returncode}: {done.stderr}")
        return done.stdout

    def work(self, name):
        return os.path.join(self.options.work, name)

    def layout(self, kind):
        path = self.work(f"image-{kind}")
        if not os.path.exists(path + "/oci-layout"):
            shutil.rmtree(path, ignore_errors=True)
            shell(f"{PROJECT}/scripts/dev/make-image {kind} {path}")
        return path

    def load(self, path, reference):
        self.lunette("-e", f"return image.load('{path}', {{ tag = '{reference}' }}).id")

    def spawned(self, prefix, command, count=1):
        """The seconds from spawn to exit of a command, measured by a C program: the interpreter's own price isn't in it."""
        line = prefix + [self.work("spawn"), str(count), *command]
        done = subprocess.run(line, env=self.environment, text=True, capture_output=True)
        if done.returncode != 0:
            return None, (done.stderr or done.stdout).strip().split("\n")[-1]
        return [int(number) / 1e9 for number in done.stdout.split()], None

    def tear_down(self):
        names = subprocess.run([self.binary, "ps", "-a", "-q"], env=self.environment, text=True, capture_output=True).stdout.split()
        if names:
            subprocess.run([self.binary, "rm", "-f", *names], env=self.environment, capture_output=True)
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                environment = open(f"/proc/{pid}/environ", "rb").read()
                if (self.home + "/").encode() in environment and int(pid) != os.getpid():
                    os.kill(int(pid), signal.SIGTERM)
            except OSError:
                pass
        time.sleep(0.5)
        shutil.rmtree(self.home, ignore_errors=True)
        shutil.rmtree(self.fast, ignore_errors=True)


def rootfs(bench):
    """The busybox image's tree as a folder, for those that take one."""
    root = bench.work("rootfs")
    if not os.path.exists(root + "/bin/true"):
        shutil.rmtree(root, ignore_errors=True)
        os.makedirs(root)
        layout = bench.layout("busybox")
        manifest = json.load(open(f"{layout}/index.json"))["manifests"][0]["digest"].split(":")[1]
        for layer in json.load(open(f"{layout}/blobs/sha256/{manifest}"))["layers"]:
            shell(f"tar -xzf {layout}/blobs/sha256/{layer['digest'].split(':')[1]} -C {root}")
        for name in ("proc", "dev", "sys"):
            os.makedirs(f"{root}/{name}", exist_ok=True)
    return root


def bundle(bench):
    folder = bench.work("bundle")
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    shell(f"cd {folder} && runc spec")
    config = json.load(open(folder + "/config.json"))
    config["root"] = {"path": rootfs(bench), "readonly": False}
    config["process"]["terminal"] = False
    config["process"]["args"] = ["/bin/true"]
    json.dump(config, open(folder + "/config.json", "w"))
    return folder


def case_start(bench):
    root, folder = rootfs(bench), bundle(bench)
    bench.load(bench.layout("busybox"), IMAGE)
    podman = ["podman", "--root", bench.home + "/p", "--runroot", bench.home + "/pr", "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs",
              "--runtime", "crun", "run", "--rm", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024", "--network", "none", "--cgroups", "disabled", "--rootfs", root, "/bin/true"]
    peers = {
        "floor": ([], [bench.work("floor"), root, "/bin/true"], 1),
        "bubblewrap": ([], ["bwrap", "--unshare-all", "--bind", root, "/", "--proc", "/proc", "--dev", "/dev", "/bin/true"], 1),
        "crun": (PRIVATE, ["crun", "run", "-b", folder, "bench-crun"], 2),
        "runc": (PRIVATE, ["runc", "run", "-b", folder, "bench-runc"], 4),
        "podman run": (PRIVATE, podman, 20),
        "lunette run (a process)": ([], [bench.binary, "run", "--rm", IMAGE, "/bin/true"], 2),
    }
    client = subprocess.Popen([bench.binary, HERE + "/start.lua", IMAGE], env=bench.environment, text=True,
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    if client.stdout.readline().strip() != "ready":
        raise SystemExit("start.lua didn't get ready")

    def ours(word="go"):
        client.stdin.write(word + "\n")
        client.stdin.flush()
        answer = client.stdout.readline()
        if not answer:
            raise SystemExit("start.lua ended")
        return answer

    for _ in range(10):
        ours()
    times, failures = {name: [] for name in ["lunette", *peers]}, {}
    # Another order each round: what a run leaves to the kernel to take apart is paid for by the run after it.
    names, order = list(times), random.Random(1)
    for number in range(bench.options.rounds):
        for name in order.sample(names, len(names)):
            if name == "lunette":
                times[name].append(float(ours()))
                continue
            prefix, command, every = peers[name]
            if number % every or name in failures:
                continue
            taken, failure = bench.spawned(prefix, command)
            if failure:
                failures[name] = failure
            else:
                times[name] += taken
    profile = json.loads(ours("profile"))
    client.stdin.close()
    client.wait()

    floor = median(times["floor"])
    rows = []
    for name, taken in times.items():
        if taken:
            rows.append([name, len(taken), ms(median(taken)), ms(percentile(taken, 0.99)), f"{median(taken) / floor:.2f}",
                         f"{median(taken) / median(times['lunette']):.2f}"])
        else:
            rows.append([name, 0, "-", "-", "-", failures.get(name, "not run")[:60]])
    table("start: /bin/true from create to the end of wait, one connected client (aim: ≤ 2.0 × floor, runc ≥ 3 × ours)",
          ["", "runs", "median ms", "p99 ms", "× floor", "× lunette"], rows)
    if profile:
        print("  phases of one start, ms: " + "  ".join(f"{name} {seconds * 1000:.2f}" for name, seconds in profile.items()))

    rows = []
    for workers in (1, 4):
        began = time.monotonic()
        seconds = float(bench.lunette(HERE + "/sustained.lua", IMAGE, str(bench.options.sustained), str(workers)))
        # The last thing that goes of a container is its run directory; its cgroups have gone before.
        while os.listdir(bench.home + "/s/containers") and time.monotonic() - began < 120:
            time.sleep(0.005)
        drained = time.monotonic() - began
        rows.append([workers, f"{bench.options.sustained / seconds:.0f}", f"{bench.options.sustained / drained:.0f}"])
    table(f"sustained: {bench.options.sustained} containers created, started, waited for and removed",
          ["workers", "starts/s", "starts/s, teardown drained"], rows)


def case_shim(bench):
    bench.load(bench.layout("busybox"), IMAGE)
    shims, both = [], []
    for number in range(5):
        bench.lunette("run", "-d", "--name", f"memory-{number}", IMAGE, "sleep", "1000")
        pid = int(bench.lunette("-e", f"return container.get('memory-{number}'):inspect().pid").strip())
        shim = int(open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[1])
        shims.append(private_kib(shim))
        both.append(private_kib(shim) + private_kib(pid))
    bench.lunette("rm", "-f", *[f"memory-{number}" for number in range(5)])
    table("shim: private memory of a running container's monitor", ["", "KiB", "aim", "ratio"], [
        ["shim", f"{median(shims):.0f}", 100, f"{median(shims) / 100:.2f}"],
        ["shim + init", f"{median(both):.0f}", 150, f"{median(both) / 150:.2f}"],
    ])


def big_layouts(bench):
    """A Debian tree as one layer and as several: debootstrap's where it can be had, else this machine's own /usr."""
    one, several = bench.work("big-one"), bench.work("big-several")
    if os.path.exists(several + "/oci-layout"):
        return one, several
    tree = bench.work("debian")
    if not os.path.exists(tree + "/.done"):
        shutil.rmtree(tree, ignore_errors=True)
        try:
            shell(f"debootstrap --variant=minbase --include=python3,perl,git bookworm {tree} >/dev/null")
        except subprocess.CalledProcessError:
            print("  debootstrap can't reach a mirror: taking this machine's own folders instead")
            shutil.rmtree(tree, ignore_errors=True)
            os.makedirs(tree)
            shell(f"cp -a --parents /usr/bin /usr/share/perl /usr/share/zoneinfo /usr/lib/python3 /usr/lib/python3.11 /usr/lib/x86_64-linux-gnu /etc /var/lib/dpkg {tree}")
        shell(f"rm -rf {tree}/dev {tree}/proc {tree}/sys {tree}/var/cache/apt {tree}/var/lib/apt; touch {tree}/.done")
    parts = [["usr/share"], ["usr/lib"], ["usr/bin", "usr/sbin"], None]
    for layout, layers in ((one, [None]), (several, parts)):
        shutil.rmtree(layout, ignore_errors=True)
        taken, blobs = [], []
        for part in layers:
            skip = " ".join(f"--exclude=./{name}" for name in taken)
            found = ["."] if part is None else [f"./{name}" for name in part if os.path.isdir(f"{tree}/{name}")]
            taken += [name[2:] for name in found if name != "."]
            blob = bench.work("layer")
            shell(f"tar -C {tree} --numeric-owner {skip if part is None else ''} -cf {blob} {' '.join(found)}")
            blobs.append(blob + f"-{len(blobs)}")
            os.rename(blob, blobs[-1])
        write_layout(layout, blobs)
    return one, several


def write_layout(layout, tars):
    """An OCI layout of the tars, gzipped. `umoci insert` leaves the last file's padding out, which GNU tar calls damaged."""
    os.makedirs(layout + "/blobs/sha256")

    def digest(path):
        return "sha256:" + shell(f"sha256sum {path}").split()[0]

    def store(path, kind):
        name = digest(path)
        size = os.path.getsize(path)
        os.rename(path, f"{layout}/blobs/sha256/{name[7:]}")
        return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": name, "size": size}

    def store_json(value, kind):
        path = layout + "/new"
        json.dump(value, open(path, "w"))
        return store(path, kind)

    diffs, layers = [], []
    for tar in tars:
        diffs.append(digest(tar))
        shell(f"gzip -nf {tar}")
        layers.append(store(tar + ".gz", "layer.v1.tar+gzip"))
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
    config = store_json({"architecture": machine, "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": diffs}},
                        "config.v1+json")
    manifest = store_json({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config, "layers": layers},
                          "manifest.v1+json")
    manifest["annotations"] = {"org.opencontainers.image.ref.name": "latest"}
    json.dump({"schemaVersion": 2, "manifests": [manifest]}, open(layout + "/index.json", "w"))
    json.dump({"imageLayoutVersion": "1.0.0"}, open(layout + "/oci-layout", "w"))


def case_unpack(bench):
    one, several = big_layouts(bench)
    for title, layout in (("one layer", one), ("several layers", several)):
        manifest = json.load(open(f"{layout}/index.json"))["manifests"][0]["digest"].split(":")[1]
        layers = json.load(open(f"{layout}/blobs/sha256/{manifest}"))["layers"]
        blobs = [f"{layout}/blobs/sha256/{layer['digest'].split(':')[1]}" for layer in layers]
        size = sum(int(shell(f"gzip -dc {blob} | wc -c")) for blob in blobs)
        times = {"lunette load": [], "umoci unpack": [], "GNU tar": [], "umoci unpack, synced": [], "GNU tar, synced": []}
        for number in range(bench.options.unpacks):
            target = tempfile.mkdtemp(prefix="unpack.", dir=bench.options.work)

            def timed(name, action):
                os.sync()
                began = time.monotonic()
                action()
                times[name].append(time.monotonic() - began)
                if name != "lunette load":
                    # What ours includes: an image counts only once it is on the disk.
                    shell(f"sync -f {target}")
                    times[name + ", synced"].append(time.monotonic() - began)

            timed("lunette load", lambda: bench.load(layout, f"bench/big:{number}"))
            bench.lunette("-e", f"image.remove('bench/big:{number}')")
            timed("umoci unpack", lambda: shell(f"umoci unpack --image {layout}:latest {target}/umoci"))
            os.makedirs(target + "/tar")
            timed("GNU tar", lambda: shell("; ".join(f"tar --numeric-owner -xpzf {blob} -C {target}/tar" for blob in blobs)))
            shutil.rmtree(target)
        ours = median(times["lunette load"])
        table(f"unpack: {size / 1e6:.0f} MB in {title} ({len(layers)}); ours verifies, stores and syncs as well (aim: umoci ≥ 2 × ours, tar ≥ 1 ×)",
              ["", "median s", "× lunette"], [[name, f"{median(taken):.2f}", f"{median(taken) / ours:.2f}"] for name, taken in times.items()])


def case_cli(bench):
    bench.load(bench.layout("busybox"), IMAGE)
    rows = []

    def measure(name, command, aim):
        if not shutil.which(command[0]):
            return
        taken, failure = bench.spawned([], command, 40)
        if failure:
            rows.append([name, "-", "-", failure[:60], "-"])
        else:
            rows.append([name, ms(median(taken)), ms(percentile(taken, 0.99)), aim or "-", f"{median(taken) * 1000 / aim:.2f}" if aim else "-"])

    made = 0
    for count, aim in ((100, 30), (200, 100)):
        bench.lunette("-e", f"""
            local tasks = {{}}
            for i = {made + 1}, {count} do
                tasks[#tasks + 1] = task.spawn(function()
                    container.run {{ name = "cli-" .. i, image = "{IMAGE}", args = {{ "sleep", "1000" }} }}
                end)
            end
            task.all(tasks)""")
        made = count
        measure(f"lunette ps, {count} containers", [bench.binary, "ps"], aim)
    measure("lunette -e 'return 1'", [bench.binary, "-e", "return 1"], 15)
    measure("lunette version", [bench.binary, "version"], None)
    measure("lua5.4 -e ''", ["lua5.4", "-e", ""], None)
    table("cli: wall time from spawn to exit", ["", "median ms", "p99 ms", "aim", "ratio"], rows)
    bench.lunette("rm", "-f", *[f"cli-{number}" for number in range(1, made + 1)])


def case_oci(bench):
    oci.case(bench, rootfs(bench), bundle(bench))


def case_density(bench):
    bench.load(bench.layout("busybox"), IMAGE)
    density.case(bench, rootfs(bench), IMAGE)


def case_completion(bench):
    bench.load(bench.layout("busybox"), IMAGE)
    completion.case(bench, IMAGE)


def case_sandbox(bench):
    """`lunette sandbox -- true`, as it is installed, against bubblewrap with the same namespaces and the same mounts, as an ordinary user and as root."""
    folder = tempfile.mkdtemp(prefix="l.sandbox.", dir="/var/tmp")
    for path in ("", "/bin", "/lib", "/lib/lunette", "/tree"):
        os.makedirs(folder + path, exist_ok=True)
        os.chmod(folder + path, 0o755)
    for name, place in (("lunette-front", "bin/lunette"), ("lunette", "lib/lunette/lunette"), ("lunette-shim", "lib/lunette/lunette-shim")):
        shutil.copy(os.path.join(bench.options.bin, name), f"{folder}/{place}")
    rows = []
    try:
        for who, prefix in (("user", ["setpriv", "--reuid", "54321", "--regid", "54321", "--clear-groups"]), ("root", [])):
            os.chown(folder + "/tree", *(2 * [54321 if prefix else 0]))
            start = [*prefix, "env", "-i", "-C", folder + "/tree", f"HOME={folder}", "PATH=/usr/bin:/bin"]
            ours = [f"{folder}/bin/lunette", "sandbox", "--allow-write", ".", "--"]
            seen = subprocess.run([*start, *ours, "cat", "/proc/self/mountinfo"], text=True, capture_output=True, check=True).stdout
            mounts = sorted(line.split()[4] for line in seen.splitlines())
            files = [path for path in mounts if path.startswith(("/usr", "/etc", "/bin", "/lib", "/sbin"))]
            peer = ["bwrap", "--unshare-all", "--new-session", "--die-with-parent", "--proc", "/proc", "--dev", "/dev"]
            for path in files:
                peer += ["--ro-bind", path, path]
            for name in ("bin", "sbin", "lib", "lib64"):
                if os.path.islink("/" + name):
                    peer += ["--symlink", "usr/" + name, "/" + name]
            for path in ("/dev/shm", "/tmp", "/var/tmp", folder):
                peer += ["--tmpfs", path]
            peer += ["--bind", folder + "/tree", folder + "/tree", "--chdir", folder + "/tree"]
            programs = {
                "bubblewrap": [*peer, "/bin/true"], "lunette sandbox": [*ours, "/bin/true"],
                "the same, no front": [f"{folder}/lib/lunette/lunette", *ours[1:], "/bin/true"],
                "lunette sandbox, no landlock": [*ours[:-1], "--no-landlock", "--", "/bin/true"],
            }
            times, order = {name: [] for name in programs}, random.Random(1)
            for _ in range(bench.options.rounds):
                for name in order.sample(list(programs), len(programs)):
                    taken, failure = bench.spawned(start, programs[name])
                    if failure:
                        raise SystemExit(f"{name} as {who}: {failure}")
                    times[name] += taken
            peer_median = median(times["bubblewrap"])
            for name, taken in times.items():
                rows.append([f"{name}, {who}, {len(mounts)} mounts", len(taken), ms(median(taken)), ms(percentile(taken, 0.99)),
                             f"{median(taken) / peer_median:.2f}"])
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    table("sandbox: spawn to exit of /bin/true, equal namespaces and mounts (aim: lunette sandbox ≤ 1.5 × bubblewrap)",
          ["", "runs", "median ms", "p99 ms", "× bubblewrap"], rows)


CASES = {"start": case_start, "shim": case_shim, "unpack": case_unpack, "cli": case_cli, "oci": case_oci, "density": case_density, "sandbox": case_sandbox,
         "hook": scripting.case_hook, "state": scripting.case_state, "call": scripting.case_call, "tasks": scripting.case_tasks,
         "completion": case_completion}


def main():
    parser = argparse.ArgumentParser(prog="scripts/dev/bench")
    parser.add_argument("--bin", required=True)
    parser.add_argument("--work", required=True)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--sustained", type=int, default=1000)
    parser.add_argument("--unpacks", type=int, default=3)
    parser.add_argument("--containers", type=int, default=500, help="how many run at once in density")
    parser.add_argument("--calls", type=int, default=100_000, help="calls and events in hook and call")
    parser.add_argument("--states", type=int, default=1000, help="resident scripts in state")
    parser.add_argument("--tasks", type=int, default=100_000, help="sleeping tasks in tasks")
    parser.add_argument("cases", nargs="*", metavar="CASE", help=" ".join(CASES))
    options = parser.parse_args()
    for name in options.cases:
        if name not in CASES:
            parser.error(f"no case of that name: {name} (there are {', '.join(CASES)})")
    for name in options.cases or CASES:
        bench = Bench(options)
        try:
            CASES[name](bench)
        finally:
            bench.tear_down()
    sys.stdout.flush()


if __name__ == "__main__":
    main()
