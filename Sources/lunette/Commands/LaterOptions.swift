import ArgumentParser
import LunetteSpec

/// Flags that Docker's users will try and that aren't built: told so, with why or what to use instead, and not "unknown".
struct LaterOptions: ParsableArguments {
    @Option(name: .joined("p")) var publish: [String] = []
    @Flag(name: [.customShort("P"), .long]) var publishAll = false
    @Option var expose: [String] = []
    @Option var ip: [String] = []
    @Option var ip6: [String] = []
    @Option var linkLocalIp: [String] = []
    @Option var macAddress: [String] = []
    @Option(name: [.customLong("network-alias"), .customLong("net-alias")]) var networkAlias: [String] = []
    @Option var link: [String] = []
    @Option var addHost: [String] = []
    @Option var dnsSearch: [String] = []
    @Option(name: [.customLong("dns-option"), .customLong("dns-opt")]) var dnsOption: [String] = []
    @Option var uts: [String] = []
    @Option var cgroupns: [String] = []
    @Option var cgroupParent: [String] = []
    @Option var gpus: [String] = []
    @Option var deviceCgroupRule: [String] = []
    @Option var deviceReadBps: [String] = []
    @Option var deviceReadIops: [String] = []
    @Option var deviceWriteBps: [String] = []
    @Option var deviceWriteIops: [String] = []
    @Option var blkioWeightDevice: [String] = []
    @Option var memorySwappiness: [String] = []
    @Option var kernelMemory: [String] = []
    @Flag var oomKillDisable = false
    @Option var cpuRtPeriod: [String] = []
    @Option var cpuRtRuntime: [String] = []
    @Option var storageOpt: [String] = []
    @Option var volumesFrom: [String] = []
    @Option var volumeDriver: [String] = []
    @Option var annotation: [String] = []
    @Option var logDriver: [String] = []
    @Option var runtime: [String] = []

    /// - Throws: `unsupported` for the first that was given.
    func refuse() throws(LunetteError) {
        for list in [network, cgroups, others] {
            for (isGiven, name, hint) in list where isGiven {
                throw LunetteError(.unsupported, "use \(name): not built yet", hint: hint)
            }
        }
    }

    private typealias Refused = (isGiven: Bool, name: String, hint: String)

    private var network: [Refused] {
        let hint = "networks come with a later version; use --network none, host or container:NAME"
        return [
            (!publish.isEmpty, "--publish", hint), (publishAll, "--publish-all", hint), (!expose.isEmpty, "--expose", hint),
            (!ip.isEmpty, "--ip", hint),
            (!ip6.isEmpty, "--ip6", hint), (!linkLocalIp.isEmpty, "--link-local-ip", hint), (!macAddress.isEmpty, "--mac-address", hint),
            (!networkAlias.isEmpty, "--network-alias", hint), (!link.isEmpty, "--link", hint),
            (!addHost.isEmpty, "--add-host", "write a hosts file and mount it: -v FILE:/etc/hosts:ro"),
            (!dnsSearch.isEmpty, "--dns-search", "write a resolv.conf and mount it: -v FILE:/etc/resolv.conf:ro"),
            (!dnsOption.isEmpty, "--dns-option", "write a resolv.conf and mount it: -v FILE:/etc/resolv.conf:ro"),
        ]
    }

    private var cgroups: [Refused] {
        let blocks = "limits of single block devices come with a later version; --blkio-weight is for all of them"
        return [
            (!uts.isEmpty, "--uts", "a container has a host name of its own: --hostname NAME"),
            // It is what every container has.
            (cgroupns.contains { $0 != "private" }, "--cgroupns", "a container sees its own cgroup only, as with private"),
            (
                !cgroupParent.isEmpty, "--cgroup-parent",
                "containers' cgroups lie below the engine's own: limit each with --memory, --cpus, --pids-limit"
            ),
            (!deviceCgroupRule.isEmpty, "--device-cgroup-rule", "name the device itself: --device /dev/NAME:rwm"),
            (!deviceReadBps.isEmpty, "--device-read-bps", blocks), (!deviceReadIops.isEmpty, "--device-read-iops", blocks),
            (!deviceWriteBps.isEmpty, "--device-write-bps", blocks), (!deviceWriteIops.isEmpty, "--device-write-iops", blocks),
            (!blkioWeightDevice.isEmpty, "--blkio-weight-device", blocks),
            (!memorySwappiness.isEmpty, "--memory-swappiness", "cgroup v2 has no such setting; --memory-swap bounds swap"),
            (!kernelMemory.isEmpty, "--kernel-memory", "the kernel has given it up; --memory counts its memory too"),
            (oomKillDisable, "--oom-kill-disable", "cgroup v2 has no such setting; --oom process or group says who is ended"),
            (!cpuRtPeriod.isEmpty, "--cpu-rt-period", "cgroup v2 has no such setting; use --cpus"),
            (!cpuRtRuntime.isEmpty, "--cpu-rt-runtime", "cgroup v2 has no such setting; use --cpus"),
        ]
    }

    private var others: [Refused] {
        // Docker's own files are what ours are: bounded by --log-opt, read by `logs`.
        let drivers = ["json-file", "local"]
        return [
            (!gpus.isEmpty, "--gpus", "pass the device files with --device"),
            (!storageOpt.isEmpty, "--storage-opt", "limits on a container's own files come with a later version"),
            (!volumesFrom.isEmpty, "--volumes-from", "name the volumes with -v"),
            (!volumeDriver.isEmpty, "--volume-driver", "make the volume first: lunette volume create --driver NAME, then -v"),
            (!annotation.isEmpty, "--annotation", "mark the container with --label"),
            (
                logDriver.contains { !drivers.contains($0) }, "--log-driver \(Text.safe(logDriver.last ?? ""))",
                "the log is a file of the engine's (json-file and local mean it): lunette logs -f NAME | OTHER-PROGRAM"
            ),
            (!runtime.isEmpty, "--runtime", "the engine runs containers itself; lunette-oci does it for Docker and Podman"),
        ]
    }
}
