import Foundation
import Glibc

/// Images of installed Debian packages as OCI layouts, made once a test run by scripts/dev/make-image.
public enum TestImage: String, Sendable, CaseIterable {
    case busybox, redis, nginx, python

    /// - Returns: `FOLDER:latest` of a layout that is shared by the whole run: read it, never write it.
    public func layout() async throws -> String { try await TestImageCache.shared.layout(self) }

    /// The layout's folder alone, as `image.load` takes it.
    public func folder() async throws -> String { String(try await layout().dropLast(":latest".count)) }
}

/// Makes each image once; layouts stay in the build folder and are remade when the maker changes.
private actor TestImageCache {
    static let shared = TestImageCache()
    private var made: [TestImage: Task<String, any Error>] = [:]

    func layout(_ image: TestImage) async throws -> String {
        if let task = made[image] { return try await task.value }
        let task = Task { try await Self.make(image) }
        made[image] = task
        return try await task.value
    }

    private static func make(_ image: TestImage) async throws -> String {
        let maker = "\(LunetteHome.package)/scripts/dev/make-image"
        let version = try await Command("sha256sum", maker).run().text.prefix(12)
        let cache = "\(LunetteHome.package)/.build/test-images"
        let layout = "\(cache)/\(image.rawValue)-\(version)"
        if !FileManager.default.fileExists(atPath: "\(layout)/oci-layout") {
            // Beside it first and renamed: two test runs at once, or one that was killed, leave no half layout.
            let temporary = "\(layout).\(getpid())"
            try await Command(maker, image.rawValue, temporary).run(timeout: .seconds(120))
            if rename(temporary, layout) != 0 { try FileManager.default.removeItem(atPath: temporary) }
        }
        return "\(layout):latest"
    }
}

extension LunetteHome {
    /// Loads a test image as `lunette.test/NAME:latest`, which it returns.
    @discardableResult
    public func load(_ image: TestImage) async throws -> String {
        let reference = "lunette.test/\(image.rawValue):latest"
        try await lunette("load", "-q", "-i", try await image.folder(), "--tag", reference)
        return reference
    }
}
