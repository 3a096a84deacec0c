import CLinux

/// Walks the fields of one record; every read is checked against the record's end, so that no plan, however broken, is read beyond.
struct Fields {
    fileprivate(set) var at: UnsafeRawPointer
    let end: UnsafeRawPointer

    mutating func number() throws(Failure) -> UInt64 {
        guard end - at >= 8 else { throw failure("decode", errno: Int32(LNT_EPROTO)) }
        let value = at.load(as: UInt64.self)
        at += 8
        return value
    }

    mutating func word() throws(Failure) -> UInt32 {
        let value = try number()
        guard value <= UInt64(UInt32.max) else { throw failure("decode", errno: Int32(LNT_EPROTO)) }
        return UInt32(value)
    }

    mutating func flag() throws(Failure) -> Bool { try number() != 0 }

    /// A text that is used where it lies: ended by NUL and without one inside.
    mutating func text() throws(Failure) -> Text {
        let bytes = try bytes(terminated: true)
        let text = bytes.baseAddress!.assumingMemoryBound(to: CChar.self)
        guard text[bytes.count] == 0, lnt_find_byte(text, 0, bytes.count) < 0 else { throw failure("decode", errno: Int32(LNT_EPROTO)) }
        return text
    }

    mutating func bytes(terminated: Bool = false) throws(Failure) -> UnsafeRawBufferPointer {
        let length = try number()
        let space = UInt64(end - at)
        guard length < UInt64(LNT_PLAN_MAXIMUM) else { throw failure("decode", errno: Int32(LNT_EPROTO)) }
        let taken = (length + (terminated ? 1 : 0) + 7) & ~7
        guard taken <= space else { throw failure("decode", errno: Int32(LNT_EPROTO)) }
        let start = at
        at += Int(taken)
        return UnsafeRawBufferPointer(start: start, count: Int(length))
    }

    /// The number of items of a list, each of which takes at least `size` bytes.
    mutating func count(size: Int) throws(Failure) -> Int {
        let value = try number()
        guard value <= UInt64(end - at) / UInt64(size) else { throw failure("decode", errno: Int32(LNT_EPROTO)) }
        return Int(value)
    }
}

/// A mapped plan.
struct Plan {
    let base: UnsafeRawPointer
    let length: Int
    let records: Int

    /// Maps and checks the frame of a plan: header, and that the records fill it exactly.
    init(fd: Int32, kind: lnt_plan_kind) throws(Failure) {
        var status = lnt_file_status()
        try check(lnt_fstat(fd, &status), "fstat", literal("the plan"))
        let header = UInt64(MemoryLayout<lnt_plan_header>.size)
        guard status.size >= header, status.size <= UInt64(LNT_PLAN_MAXIMUM), let address = lnt_map_file(fd, Int(status.size)) else {
            throw failure("decode", errno: Int32(LNT_EPROTO), literal("the plan's size"))
        }
        base = UnsafeRawPointer(address)
        length = Int(status.size)
        let head = base.load(as: lnt_plan_header.self)
        guard head.magic == UInt64(0x314E_414C_5054_4E4C), head.version == UInt32(LNT_PLAN_VERSION), head.kind == kind.rawValue,
            head.length == status.size, head.records <= status.size / 8
        else { throw failure("decode", errno: Int32(LNT_EPROTO), literal("the plan's header")) }
        records = Int(head.records)
        var at = Int(header)
        for _ in 0..<records {
            guard length - at >= 8 else { throw failure("decode", errno: Int32(LNT_EPROTO), literal("the plan's records")) }
            let size = Int(base.load(fromByteOffset: at, as: lnt_record_header.self).length)
            guard size % 8 == 0, size <= length - at - 8 else {
                throw failure("decode", errno: Int32(LNT_EPROTO), literal("the plan's records"))
            }
            at += 8 + size
        }
        guard at == length else { throw failure("decode", errno: Int32(LNT_EPROTO), literal("the plan's end")) }
    }

    func unmap() { _ = lnt_unmap(UnsafeMutableRawPointer(mutating: base), length) }

    /// Where a walk over the records stands.
    struct Walk {
        fileprivate var offset: Int
        fileprivate var index: Int
    }

    func start() -> Walk { Walk(offset: MemoryLayout<lnt_plan_header>.size, index: 0) }

    /// The next record with an opcode in the range, made the current step; nil at the end.
    func next(_ walk: inout Walk, from first: lnt_opcode, through last: lnt_opcode) -> (opcode: UInt32, fields: Fields)? {
        while walk.index < records {
            let header = base.load(fromByteOffset: walk.offset, as: lnt_record_header.self)
            let payload = base + walk.offset + 8
            let index = walk.index
            walk.offset += 8 + Int(header.length)
            walk.index += 1
            if UInt32(header.opcode) >= first.rawValue, UInt32(header.opcode) <= last.rawValue {
                currentStep = UInt32(header.opcode)
                currentIndex = UInt32(index)
                return (UInt32(header.opcode), Fields(at: payload, end: payload + Int(header.length)))
            }
        }
        return nil
    }

    /// The fields of the one record of that kind.
    func fields(_ opcode: lnt_opcode) throws(Failure) -> Fields {
        var walk = start()
        guard let found = next(&walk, from: opcode, through: opcode) else {
            currentStep = opcode.rawValue
            throw failure("decode", errno: Int32(LNT_EPROTO), literal("missing in the plan"))
        }
        return found.fields
    }

    func has(_ opcode: lnt_opcode) -> Bool {
        let (step, index) = (currentStep, currentIndex)
        defer { (currentStep, currentIndex) = (step, index) }
        var walk = start()
        return next(&walk, from: opcode, through: opcode) != nil
    }

    /// The cgroup of v2 that `clone3` makes the first process in: joined so, no migration is paid for and no moment is spent outside it.
    /// -1 = the plan names none.
    /// - Parameter ready: called when there is one, before it is opened.
    func openUnifiedCgroup(_ ready: () throws(Failure) -> Void = {}) throws(Failure) -> Int32 {
        guard has(LNT_JOIN_CGROUPS) else { return -1 }
        var fields = try fields(LNT_JOIN_CGROUPS)
        for _ in 0..<(try fields.count(size: 16)) { _ = try fields.text() }
        let path = try fields.text()
        if path[0] == 0 { return -1 }
        try ready()
        return try check(lnt_open(path, Int32(LNT_O_PATH) | Int32(LNT_O_DIRECTORY), 0), "open", path)
    }
}
