internal import CLinux
internal import Glibc

/// This process's environment variables, without Foundation. Reads them at each look: whoever calls setenv(3) beside it is at fault.
package enum Environment {
    /// - Returns: nil for one that is unset or empty.
    package static subscript(_ name: String) -> String? {
        guard let value = getenv(name), value.pointee != 0 else { return nil }
        return String(cString: value)
    }

    /// Every variable, the empty ones too.
    package static var all: [String: String] {
        var result: [String: String] = [:]
        var entry = lnt_host_environment()
        while let pointer = entry, let text = pointer.pointee {
            let line = String(cString: text)
            if let equals = line.firstIndex(of: "="), equals != line.startIndex {
                result[String(line[..<equals])] = String(line[line.index(after: equals)...])
            }
            entry = pointer + 1
        }
        return result
    }
}
