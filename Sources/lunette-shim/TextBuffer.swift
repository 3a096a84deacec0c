import CLinux

/// Builds text in memory it is given; what doesn't fit is cut, never written beyond.
struct TextBuffer {
    let start: UnsafeMutablePointer<UInt8>
    let capacity: Int
    private(set) var count = 0

    init(_ start: UnsafeMutableRawPointer, capacity: Int) {
        self.start = start.assumingMemoryBound(to: UInt8.self)
        self.capacity = capacity
    }

    var space: Int { capacity - count }
    var text: Text { UnsafeRawPointer(start).assumingMemoryBound(to: CChar.self) }
    mutating func clear() { count = 0 }
    mutating func drop(_ bytes: Int) { count -= bytes }

    mutating func append(_ byte: UInt8) {
        guard count < capacity else { return }
        start[count] = byte
        count += 1
    }

    mutating func append(_ literal: StaticString) {
        append(UnsafeRawPointer(literal.utf8Start), literal.utf8CodeUnitCount)
    }

    mutating func append(_ text: Text) { append(UnsafeRawPointer(text), lnt_length(text)) }

    mutating func append(_ bytes: UnsafeRawPointer, _ size: Int) {
        let taken = min(size, space)
        guard taken > 0 else { return }
        UnsafeMutableRawPointer(start + count).copyMemory(from: bytes, byteCount: taken)
        count += taken
    }

    mutating func append(_ number: UInt64, digits: Int = 1) {
        var divisor: UInt64 = 1
        var length = 1
        while number / divisor >= 10 {
            divisor *= 10
            length += 1
        }
        for _ in 0..<max(0, digits - length) { append(0x30) }
        while divisor > 0 {
            append(UInt8(0x30 + (number / divisor) % 10))
            divisor /= 10
        }
    }

    mutating func append(signed number: Int64) {
        if number < 0 { append(0x2d) }
        append(number.magnitude)
    }

    /// Ends the text for C; the NUL isn't counted.
    mutating func terminate() -> Text {
        start[min(count, capacity - 1)] = 0
        return text
    }

    /// A time since the epoch in nanoseconds as RFC 3339 in UTC, always 30 bytes, so that lines sort.
    mutating func append(time nanoseconds: UInt64) {
        let seconds = nanoseconds / 1_000_000_000
        let days = seconds / 86400
        let rest = seconds % 86400
        // Civil date from days, Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
        let shifted = days + 719_468
        let era = shifted / 146_097
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let monthIndex = (5 * dayOfYear + 2) / 153
        let day = dayOfYear - (153 * monthIndex + 2) / 5 + 1
        let month = monthIndex < 10 ? monthIndex + 3 : monthIndex - 9
        let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        append(year, digits: 4)
        append(0x2d)
        append(month, digits: 2)
        append(0x2d)
        append(day, digits: 2)
        append(0x54)
        append(rest / 3600, digits: 2)
        append(0x3a)
        append(rest / 60 % 60, digits: 2)
        append(0x3a)
        append(rest % 60, digits: 2)
        append(0x2e)
        append(nanoseconds % 1_000_000_000, digits: 9)
        append(0x5a)
    }
}

/// `/proc/<pid>/<name>` in a buffer of the caller's stack.
func withProcPath<Result>(_ pid: Int32, _ name: StaticString, _ body: (Text) throws(Failure) -> Result) throws(Failure) -> Result {
    var storage: (UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0, 0, 0, 0, 0)
    var outcome: Swift.Result<Result, Failure>? = nil
    withUnsafeMutableBytes(of: &storage) { bytes in
        var buffer = TextBuffer(bytes.baseAddress!, capacity: bytes.count - 1)
        buffer.append("/proc/")
        buffer.append(UInt64(pid))
        buffer.append(0x2f)
        buffer.append(name)
        let path = buffer.terminate()
        do throws(Failure) { outcome = .success(try body(path)) } catch { outcome = .failure(error) }
    }
    return try outcome!.get()
}
