import Foundation
import LunetteTesting

/// What hostile archives do to whoever unpacks and mounts them without a second look.
enum NaiveUnpacker {
    typealias Fill = (inout TarBuilder, _ canary: String) -> Void

    /// Unpacks an archive with tar(1) beside a canary of its own, where hard links reach it.
    /// - Returns: what `isAstray` says of the canary and of the folder that everything should be in.
    static func led(_ fill: Fill, _ isAstray: (Canary, _ root: String) -> Bool) async throws -> Bool {
        let canary = try Canary()
        defer { canary.remove() }
        let folder = (canary.path as NSString).deletingLastPathComponent + "/unpacked"
        var tar = TarBuilder()
        fill(&tar, canary.path)
        try await NaiveRuntime.unpack(tar.finished, below: folder)
        return isAstray(canary, "\(folder)/root")
    }

    /// Whether tar(1) takes these bytes for a layer with a file `x`, whatever their descriptor said.
    static func takes(_ layer: [UInt8]) async throws -> Bool {
        try await withWorkspace { workspace in
            try await NaiveRuntime.unpack(layer, below: workspace.folder)
            return FileManager.default.fileExists(atPath: "\(workspace.folder)/root/x")
        }
    }

    /// Mounts two layers, and says what is seen of the lower one's folder `d` with its `low`, beside which there is `other` with its `elsewhere`.
    /// - Parameter prepare: shell lines in the upper layer, which has a folder `d`.
    static func merged(_ prepare: String, options: String = "") async throws -> [String] {
        try await withWorkspace { workspace in
            let line = """
                cd '\(workspace.folder)' && mkdir -p lower/d lower/other upper/d m && : > lower/d/low && : > lower/other/elsewhere
                (cd upper && \(prepare)) && mount -t overlay -o 'ro,lowerdir=upper:lower\(options)' none m && ls m/d
                """
            return try await Command("unshare", "-m", "--propagation", "private", "sh", "-c", line).run().lines
        }
    }
}
