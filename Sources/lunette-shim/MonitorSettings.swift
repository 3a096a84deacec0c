import CLinux

/// What the plan says about looking after the program; copied, because the plan is unmapped once the program runs.
struct MonitorSettings {
    var initProcess = true
    var goesOn = false
    var log = true
    var logSize: UInt64 = 0
    var logFiles: UInt64 = 1
    /// The cgroup's OOM counter, opened at launch so that a removed folder can't hide it; -1 = none.
    var oomEvents: Int32 = -1
    /// Kills counted before this launch.
    var oomBefore: UInt64 = 0
    var attended = Attended()
    /// Where the counter is: in the mapped plan, for `openOutOfMemoryCounter`.
    private var oomEventsPath: Text?

    init() {}

    // Fields: container init shim_death log log_size log_files oom_events
    init(plan: Plan) throws(Failure) {
        attended = Attended(plan: plan)
        var fields = try plan.fields(LNT_MONITOR)
        _ = try fields.text()
        initProcess = try fields.flag()
        goesOn = try fields.flag()
        log = try fields.flag()
        logSize = try fields.number()
        logFiles = max(1, try fields.number())
        // Each rotation renames as many: a broken plan must not keep the shim from everything else.
        guard logFiles <= 1000 else { throw failure("decode", errno: Int32(LNT_EPROTO), literal("log_files")) }
        oomEventsPath = try fields.text()
    }

    /// Once the cgroups are there.
    mutating func openOutOfMemoryCounter() throws(Failure) {
        guard let path = oomEventsPath, path[0] != 0 else { return }
        oomEventsPath = nil
        let (step, index) = (currentStep, currentIndex)
        currentStep = LNT_MONITOR.rawValue
        // A cgroup without that controller has no counter, and needs none.
        let file = lnt_open(path, 0, 0)
        if file != -Int32(LNT_ENOENT) { oomEvents = try check(file, "open", path) }
        oomBefore = countOOMKills()
        (currentStep, currentIndex) = (step, index)
    }

    /// The number after `oom_kill ` in memory.oom_control (v1) or memory.events (v2).
    func countOOMKills() -> UInt64 {
        guard oomEvents >= 0 else { return 0 }
        return withUnsafeTemporaryAllocation(byteCount: 512, alignment: 8) { bytes in
            let count = lnt_pread(oomEvents, bytes.baseAddress!, bytes.count, 0)
            guard count > 0 else { return 0 }
            let text = bytes.assumingMemoryBound(to: UInt8.self)
            let key: StaticString = "oom_kill "
            var line = 0
            while line < count {
                let newline = lnt_find_byte(bytes.baseAddress! + line, 0x0a, count - line)
                let end = newline < 0 ? count : line + newline
                if end - line > 9, lnt_same(bytes.baseAddress! + line, key.utf8Start, 9) != 0 {
                    var value: UInt64 = 0
                    for index in line + 9..<end where text[index] >= 0x30 && text[index] <= 0x39 {
                        value = value &* 10 &+ UInt64(text[index] - 0x30)
                    }
                    return value
                }
                line = end + 1
            }
            return 0
        }
    }
}
