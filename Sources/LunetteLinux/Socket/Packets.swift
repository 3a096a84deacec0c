/// The bytes of a struct of the shim's protocol (shim_protocol.h).
package func packet<T: BitwiseCopyable>(_ value: T) -> [UInt8] { withUnsafeBytes(of: value) { Array($0) } }

/// Reads a struct of the shim's protocol from the front of a packet.
/// - Returns: nil for a packet that is too short.
package func unpack<T: BitwiseCopyable>(_: T.Type, _ bytes: [UInt8]) -> T? {
    guard bytes.count >= MemoryLayout<T>.size else { return nil }
    return bytes.withUnsafeBytes { $0.loadUnaligned(as: T.self) }
}
