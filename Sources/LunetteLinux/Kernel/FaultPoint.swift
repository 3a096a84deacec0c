internal import CLinux
internal import Glibc

/// The places where a test may kill the engine or `lunette-oci`, all of them, so that one test can walk each list; scripts/dev/test compares
/// them with the calls.
///
/// A name is `noun.step`; its point stands directly after the step it is named for.
package enum FaultPoints {
    /// The engine's, sorted.
    package static let all = [
        "apply.asked", "apply.committed", "apply.made", "apply.pruning",
        "build.ledger", "build.ran",
        "create.before-commit", "create.cgroups", "create.committed", "create.created", "create.plan", "create.rundir",
        "create.spawned",
        "exec.running", "exec.sent",
        "health.ending",
        "image.blob", "image.blobs", "image.committed", "image.removed", "image.snapshots", "image.synced", "image.unpacked",
        "image.untagged",
        "kill.sent",
        "lifecycle.deciding", "lifecycle.transitioned",
        "remove.cgroups", "remove.committed", "remove.killed", "remove.reaped", "remove.rundir", "remove.upper",
        "start.committed", "start.copied-up", "start.created", "start.ledger", "start.prepared", "start.running", "start.sent",
        "stop.committed", "stop.killed", "stop.signalled",
        "update.applied",
        "volume.create.ledger", "volume.create.made", "volume.remove.committed",
    ]

    /// Those of `lunette-oci`, sorted.
    package static let runtime = [
        "oci.create.cgroup", "oci.create.created", "oci.create.folder", "oci.create.made", "oci.create.planned", "oci.create.recorded",
        "oci.create.saved",
        "oci.create.spawned",
        "oci.delete.cgroup", "oci.delete.renamed", "oci.start.opened",
    ]
}

#if DEBUG
    // Read once: the environment doesn't change, and getenv beside a setenv elsewhere is a race.
    private let chosenFault: String? = getenv("LUNETTE_FAULT").map { String(cString: $0) }

    /// Kills this process with SIGKILL when `LUNETTE_FAULT` names this point. Debug builds only.
    @inline(never)
    package func faultPoint(_ name: String) {
        if let chosenFault, chosenFault == name {
            _ = lnt_host_kill(getpid(), SIGKILL)
            // Pending signals are delivered on the way out of the call; this line is for the analyser.
            while true { pause() }
        }
    }
#else
    @inline(__always)
    package func faultPoint(_ name: StaticString) {}
#endif
