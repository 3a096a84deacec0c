internal import CLinux

/// Reads a symbolic link's target (readlink(2)).
/// - Parameters:
///   - path: the link's; relative to `directory`, or to the working folder.
///   - directory: where a relative path starts.
/// - Returns: the target as it is written there; bytes that are no UTF-8 are replaced.
/// - Throws: what the kernel answers, `EINVAL` for what is no link.
package func readLink(_ path: String, in directory: Directory? = nil) throws(SystemCallError) -> String {
    let (workingFolder, longest): (Int32, Int) = (-100, 4096)
    var buffer = [CChar](repeating: 0, count: longest)
    let result = lnt_host_readlinkat(directory?.descriptor.number ?? workingFolder, path, &buffer, longest)
    let count = try check(result, "read link", directory.map { "\($0.label)/\(path)" } ?? path)
    return String(decoding: buffer.prefix(Int(count)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
}
