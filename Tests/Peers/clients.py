"""How each client is started on data, state and sockets of its own, and how its commands name the runtime under test."""
import os
import shutil
import subprocess
import time


def found(*names):
    for name in names:
        path = name if name.startswith("/") else shutil.which(name)
        if path and os.access(path, os.X_OK):
            return path
    raise SystemExit(f"compare.py: none of {', '.join(names)} is here")


def quoted(words):
    return " ".join("'" + word.replace("'", "'\\''") + "'" for word in words)


class Client:
    """One client with its daemons. `home` is removed by the caller, processes end with the pid namespace that all of this runs in."""

    image = "peers.test/busybox:latest"

    def __init__(self, home, layout, runtimes, cgroup):
        self.home, self.layout, self.runtimes, self.cgroup = home, layout, runtimes, cgroup
        self.processes = []

    def folder(self, name):
        path = f"{self.home}/{name}"
        os.makedirs(path, exist_ok=True)
        return path

    def daemon(self, *command, ready):
        """Starts a daemon and waits until `ready` exits with 0."""
        log = open(f"{self.home}/{os.path.basename(command[0])}.log", "ab")
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        self.processes.append(process)
        until = time.monotonic() + 60
        while subprocess.run(ready, stdin=subprocess.DEVNULL, capture_output=True).returncode != 0:
            if process.poll() is not None or time.monotonic() > until:
                log.flush()
                raise SystemExit(f"compare.py: {command[0]} didn't start:\n" + open(log.name).read()[-3000:])
            time.sleep(0.1)

    def containerd(self):
        path, state = self.folder("containerd"), self.folder("containerd/state")
        off = ", ".join(f'"io.containerd.{name}"' for name in (
            "grpc.v1.cri", "snapshotter.v1.devmapper", "snapshotter.v1.btrfs", "snapshotter.v1.zfs", "snapshotter.v1.aufs"))
        with open(f"{path}/config.toml", "w") as config:
            config.write(f'version = 2\nroot = "{path}/root"\nstate = "{state}"\ndisabled_plugins = [{off}]\n'
                         f'[grpc]\naddress = "{path}/socket"\n[ttrpc]\naddress = "{path}/socket.ttrpc"\n')
        self.daemon(found("containerd"), "-c", f"{path}/config.toml", ready=["ctr", "-a", f"{path}/socket", "version"])
        return f"{path}/socket"

    def parent(self, runtime):
        """The cgroup below which the containers of one runtime are."""
        return f"/{self.cgroup}/{runtime}"

    def stop(self):
        for process in reversed(self.processes):
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


class Podman(Client):
    name = "podman"

    def start(self):
        self.command = [
            found("podman"), "--root", self.folder("root"), "--runroot", self.folder("run"), "--tmpdir", self.folder("tmp"),
            "--cgroup-manager", "cgroupfs", "--events-backend", "file", "--storage-driver", "overlay",
        ]
        subprocess.run(["skopeo", "copy", "-q", "--insecure-policy", f"oci:{self.layout}", f"docker-archive:{self.home}/image.tar:{self.image}"], check=True)
        subprocess.run([*self.command, "load", "-q", "-i", f"{self.home}/image.tar"], check=True, stdout=subprocess.DEVNULL)

    def prelude(self, runtime):
        # Podman raises the limits to its own defaults, which root without CAP_SYS_RESOURCE may not.
        flags = ["--network", "none", "--cgroup-parent", self.parent(runtime), "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096"]
        return f"""
            c() {{ {quoted(self.command)} --runtime {self.runtimes[runtime]} "$@"; }}
            gone() {{ c rm -f -t 0 "$@"; }}
            F=({quoted(flags)})
            """

    def state_folder(self, runtime):
        return None  # the runtime's own default


class Docker(Client):
    name = "docker"

    def start(self):
        socket = self.containerd()
        self.command = [found("/usr/bin/docker", "docker"), "--config", self.folder("config"), "-H", f"unix://{self.home}/socket"]
        with open(f"{self.home}/daemon.json", "w") as config:
            config.write("{}\n")
        runtimes = [f"--add-runtime={'peer-' + name}={path}" for name, path in self.runtimes.items()]
        self.daemon(
            found("dockerd"), "--config-file", f"{self.home}/daemon.json", "--data-root", self.folder("data"), "--exec-root", self.folder("exec"),
            "-H", f"unix://{self.home}/socket", "-p", f"{self.home}/pid", "--containerd", socket, "--bridge=none", "--iptables=false",
            "--ip6tables=false", "--ip-forward=false", "--ip-masq=false", "--oom-score-adjust", "0", *runtimes, ready=[*self.command, "version"])
        subprocess.run(["skopeo", "copy", "-q", "--insecure-policy", f"oci:{self.layout}", f"docker-archive:{self.home}/image.tar:{self.image}"], check=True)
        subprocess.run([*self.command, "load", "-q", "-i", f"{self.home}/image.tar"], check=True, stdout=subprocess.DEVNULL)

    def prelude(self, runtime):
        flags = ["--network", "none", "--cgroup-parent", self.parent(runtime), "--runtime", "peer-" + runtime]
        return f"""
            c() {{ {quoted(self.command)} "$@"; }}
            gone() {{ c rm -f "$@"; }}
            F=({quoted(flags)})
            """

    def state_folder(self, runtime):
        return f"{self.home}/exec/runtime-peer-{runtime}/moby"


class Containerd(Client):
    name = "containerd"

    def start(self):
        self.socket = self.containerd()
        subprocess.run(["tar", "-C", self.layout.rsplit(":", 1)[0], "-cf", f"{self.home}/image.tar", "."], check=True)
        for runtime in self.runtimes:
            subprocess.run([found("ctr"), "-a", self.socket, "-n", f"peer-{runtime}", "images", "import", "--base-name", "peers.test/busybox", f"{self.home}/image.tar"],
                           check=True, stdout=subprocess.DEVNULL)

    def prelude(self, runtime):
        return f"""
            c() {{ {found("ctr")} -a {self.socket} -n peer-{runtime} "$@"; }}
            F=(--runc-binary {self.runtimes[runtime]} --runc-root {self.home}/oci-{runtime})
            CG={self.parent(runtime)}
            """

    def state_folder(self, runtime):
        return f"{self.home}/oci-{runtime}/peer-{runtime}"


CLIENTS = {client.name: client for client in (Podman, Docker, Containerd)}
