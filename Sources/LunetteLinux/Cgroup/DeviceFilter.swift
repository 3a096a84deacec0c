internal import CLinux

/// Device rules as a BPF program for cgroup v2, which has no devices controller. For each kind of access the last rule that names it decides;
/// without one, no.
///
/// Source: linux/bpf.h, `struct bpf_cgroup_dev_ctx { u32 access_type; u32 major; u32 minor; }`, access in the upper half, type in the lower.
package struct DeviceFilter: Sendable {
    /// `struct bpf_insn`, eight bytes each.
    package let instructions: [UInt64]

    private static let mknod: UInt32 = 1
    private static let read: UInt32 = 2
    private static let write: UInt32 = 4
    private static let block: Int32 = 1
    private static let character: Int32 = 2

    package init(_ rules: [CgroupLimits.DeviceRule]) {
        // r2 = type, r3 = access asked for, r4 = major, r5 = minor; r1 is the context, and free after these loads.
        var code: [UInt64] = [
            Self.load(2, offset: 0), Self.immediate(0x54, 2, 0xffff),  // w2 &= 0xffff
            Self.load(3, offset: 0), Self.immediate(0x74, 3, 16),  // w3 >>= 16
            Self.load(4, offset: 4), Self.load(5, offset: 8),
        ]
        var isDecided = false
        for rule in rules.reversed() where !isDecided {
            code += Self.block(for: rule)
            // Nothing behind it is ever reached, and the kernel's verifier refuses what can't be.
            isDecided = rule.kind == "a"
        }
        if !isDecided { code += [Self.immediate(0xb7, 0, 0), Self.exit] }
        instructions = code
    }

    /// Puts the filter on a cgroup in place of what was there, for as long as that exists.
    package func attach(to path: String) throws(SystemCallError) {
        let directory = try Directory(path)
        let result = lnt_host_attach_device_filter(directory.descriptor.number, instructions, UInt32(instructions.count))
        try check(result, "attach the device filter to", path)
    }

    private static func block(for rule: CgroupLimits.DeviceRule) -> [UInt64] {
        // Tests first; each that fails jumps behind the block, which is as long as it turns out to be.
        var tests: [(before: [UInt64], jump: (Int16) -> UInt64)] = []
        if rule.kind == "b" || rule.kind == "c" {
            tests.append(([], { jumpUnlessEqual(2, rule.kind == "b" ? block : character, $0) }))
        }
        if rule.kind != "a" {
            if let major = rule.major { tests.append(([], { jumpUnlessEqual(4, Int32(truncatingIfNeeded: major), $0) })) }
            if let minor = rule.minor { tests.append(([], { jumpUnlessEqual(5, Int32(truncatingIfNeeded: minor), $0) })) }
        }
        var access: UInt32 = 0
        if rule.access.contains("m") { access |= mknod }
        if rule.access.contains("r") { access |= read }
        if rule.access.contains("w") { access |= write }
        if rule.kind != "a", access != mknod | read | write {
            if rule.allow {
                // w3 &= ~rule: what this one allows needs no other; when more is asked for, earlier rules decide about the rest.
                tests.append(([immediate(0x54, 3, Int32(~access & 7))], { jumpUnlessEqual(3, 0, $0) }))
            } else {
                // w1 = asked & rule; nothing of it → next. One denied kind denies the whole.
                tests.append(([move(1, 3), immediate(0x54, 1, Int32(access))], { jumpIfEqual(1, 0, $0) }))
            }
        }
        var rest: [UInt64] = [immediate(0xb7, 0, rule.allow ? 1 : 0), exit]
        for test in tests.reversed() { rest = test.before + [test.jump(Int16(rest.count))] + rest }
        return rest
    }

    private static func instruction(_ code: UInt8, destination: UInt8, source: UInt8 = 0, offset: Int16 = 0, immediate: Int32 = 0) -> UInt64
    {
        UInt64(code) | UInt64(destination | source << 4) << 8 | UInt64(UInt16(bitPattern: offset)) << 16 | UInt64(
            UInt32(bitPattern: immediate)) << 32
    }

    private static func load(_ register: UInt8, offset: Int16) -> UInt64 {
        instruction(0x61, destination: register, source: 1, offset: offset)
    }
    private static func immediate(_ code: UInt8, _ register: UInt8, _ value: Int32) -> UInt64 {
        instruction(code, destination: register, immediate: value)
    }
    private static func move(_ to: UInt8, _ from: UInt8) -> UInt64 { instruction(0xbc, destination: to, source: from) }

    private static func jumpUnlessEqual(_ register: UInt8, _ value: Int32, _ offset: Int16) -> UInt64 {
        instruction(0x55, destination: register, offset: offset, immediate: value)
    }

    private static func jumpIfEqual(_ register: UInt8, _ value: Int32, _ offset: Int16) -> UInt64 {
        instruction(0x15, destination: register, offset: offset, immediate: value)
    }

    private static let exit = instruction(0x95, destination: 0)
}
