internal import Glibc

/// This process's environment variables, without Foundation. Reads them at each look: whoever calls setenv(3) beside it is at fault.
package enum Environment {
    /// - Returns: nil for one that is unset or empty.
    package static subscript(_ name: String) -> String? {
        guard let value = getenv(name), value.pointee != 0 else { return nil }
        return String(cString: value)
    }
}
