import Foundation
import LunetteImages
import LunetteSpec
import Testing

/// Figures for a developer: `LUNETTE_BENCH_LAYOUT=dir swift test -c release --filter UnpackBench`.
@Suite struct UnpackBench {
    @Test(.enabled(if: ProcessInfo.processInfo.environment["LUNETTE_BENCH_LAYOUT"] != nil, "requires LUNETTE_BENCH_LAYOUT"))
    func loadsALayout() async throws {
        let layout = ProcessInfo.processInfo.environment["LUNETTE_BENCH_LAYOUT"]!
        let root = "/tmp/lunette-bench-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: root) }
        let store = try await ImageStore.open(root: root)
        let start = ContinuousClock.now
        let records = try await store.load(layout)
        print("load: \(ContinuousClock.now - start), \(records.map(\.layers.count)) layers")
    }
}
