internal import CLinux
package import LunetteSpec

extension LaunchFailure {
    /// Reads the record that a failing step sends home (`lnt_failure` of shim_protocol.h).
    /// - Returns: nil when the packet is too short to be one.
    package init?(packet: [UInt8]) {
        guard packet.count >= MemoryLayout<lnt_failure>.size else { return nil }
        let raw = packet.withUnsafeBytes { $0.loadUnaligned(as: lnt_failure.self) }
        let call = withUnsafeBytes(of: raw.call) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        let path = withUnsafeBytes(of: raw.path) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        self.init(
            step: LaunchOpcode(rawValue: UInt16(truncatingIfNeeded: raw.step)) ?? .setUp, index: Int(raw.index), call: call,
            errno: raw.error, path: path)
    }
}
