internal import CLinux

/// What to start: a program by path or by descriptor, with exactly the descriptors named and no other.
package struct SpawnRequest: Sendable {
    package enum Program: Sendable {
        case path(String)
        /// An open executable (a sealed memfd, say).
        case descriptor(FileDescriptor)
    }

    package var program: Program
    /// argv, the name first.
    package var arguments: [String]
    package var environment: [String]
    /// Become 0, 1, 2, … in the child; nil = /dev/null. Everything else is closed.
    package var descriptors: [FileDescriptor?]
    /// Own session: no controlling terminal, not in our process group.
    package var newSession = true
    package var directory: Directory?

    package init(_ program: Program, arguments: [String], environment: [String] = [], descriptors: [FileDescriptor?] = [nil, nil, nil]) {
        self.program = program
        self.arguments = arguments
        self.environment = environment
        self.descriptors = descriptors
    }
}

/// Starts a program by posix_spawn. Signal dispositions and mask are the defaults in the child. Blocks until it has been executed.
/// - Returns: the child; the caller reaps it.
package func spawn(_ request: SpawnRequest) throws(SystemCallError) -> ProcessDescriptor {
    let arguments = CStringArray(request.arguments)
    let environment = CStringArray(request.environment)
    let numbers = request.descriptors.map { $0?.number ?? -1 }
    let label: String
    var pid: Int32 = 0
    let result: Int32
    switch request.program {
    case .path(let path):
        label = path
        result = path.withCString { path in
            start(path, -1, arguments, environment, numbers, request, &pid)
        }
    case .descriptor(let file):
        label = request.arguments.first ?? "descriptor"
        result = start(nil, file.number, arguments, environment, numbers, request, &pid)
    }
    // The descriptors' numbers were used until here.
    withExtendedLifetime(request) {}
    try check(result, "start", label)
    return try ProcessDescriptor.open(pid: pid)
}

private func start(
    _ path: UnsafePointer<CChar>?, _ executable: Int32, _ arguments: CStringArray, _ environment: CStringArray, _ numbers: [Int32],
    _ request: SpawnRequest, _ pid: inout Int32
) -> Int32 {
    numbers.withUnsafeBufferPointer { numbers in
        var raw = lnt_host_spawn(
            path: path, executable: executable, arguments: arguments.pointer, environment: environment.pointer,
            descriptors: numbers.baseAddress, descriptor_count: Int32(numbers.count), new_session: request.newSession ? 1 : 0,
            directory: request.directory?.descriptor.number ?? -1)
        return lnt_host_spawn(&raw, &pid)
    }
}

/// A null-terminated array of C strings for as long as this object lives.
final class CStringArray {
    let pointer: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>
    private let count: Int

    init(_ strings: [String]) {
        count = strings.count
        pointer = .allocate(capacity: count + 1)
        for (index, text) in strings.enumerated() {
            let bytes = text.utf8CString
            let copy = UnsafeMutablePointer<CChar>.allocate(capacity: bytes.count)
            bytes.withUnsafeBufferPointer { copy.initialize(from: $0.baseAddress!, count: bytes.count) }
            (pointer + index).initialize(to: copy)
        }
        (pointer + count).initialize(to: nil)
    }

    deinit {
        for index in 0..<count { pointer[index]?.deallocate() }
        pointer.deallocate()
    }
}
