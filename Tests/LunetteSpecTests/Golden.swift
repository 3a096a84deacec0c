import Foundation
import Testing

/// Compares text with a file of Tests/LunetteSpecTests/Golden; `LUNETTE_RECORD_GOLDEN=1 swift test` writes the files anew.
enum Golden {
    static func compare(_ text: String, with name: String, location: SourceLocation = #_sourceLocation) throws {
        let file = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Golden/\(name)")
        if ProcessInfo.processInfo.environment["LUNETTE_RECORD_GOLDEN"] == "1" {
            try Data(text.utf8).write(to: file)
            return
        }
        guard let recorded = try? String(contentsOf: file, encoding: .utf8) else {
            Issue.record("there is no golden file \(name): record it with LUNETTE_RECORD_GOLDEN=1", sourceLocation: location)
            return
        }
        let (old, new) = (recorded.split(separator: "\n"), text.split(separator: "\n"))
        for line in 0..<max(old.count, new.count) where line >= old.count || line >= new.count || old[line] != new[line] {
            Issue.record(
                "\(name) differs at line \(line + 1):\n- \(line < old.count ? old[line] : "")\n+ \(line < new.count ? new[line] : "")",
                sourceLocation: location
            )
            return
        }
    }
}
