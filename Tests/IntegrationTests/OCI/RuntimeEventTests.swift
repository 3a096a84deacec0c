import Foundation
import LunetteSpec
import LunetteTesting
import Testing

/// `events`: figures in runc's form, and the moments without memory.
@Suite(.runtimeUnderTest) struct RuntimeEventTests {
    @Test(.requires(.command("runc"), .cgroupV1)) func figuresHaveTheFieldsOfRuncs() async throws {
        var fields: [[String]] = []
        for runtime in [OCIRuntime.underTest, OCIRuntime(path: try #require(Programs.find("runc")))] {
            try await withBundle(on: runtime) { bundle in
                bundle.change([
                    "process": ["args": ["/probe", "pause"]],
                    "linux": ["resources": ["memory": ["limit": 67_108_864], "pids": ["limit": 20]]],
                ])
                try await bundle.create()
                try await bundle.start()
                let event = try JSON.decode(Array(try await bundle.call("events", "--stats", bundle.id).text.utf8), source: "events")
                #expect(event["type"] == "stats" && event["id"] == .string(bundle.id))
                let data = event["data"]
                #expect(data?["memory"]?["usage"]?["limit"] == 67_108_864)
                #expect(data?["pids"]?["limit"] == 20)
                #expect((data?["cpu"]?["usage"]?["total"]?.intValue ?? 0) > 0)
                let parts = ["cpu", "memory", "pids"]
                fields.append(parts + parts.flatMap { part in (data?[part]?.mapValue?.keys ?? []).map { "\(part).\($0)" } }.sorted())
            }
        }
        #expect(Set(fields[1]).isSubset(of: Set(fields[0])), "runc has \(fields[1]), ours \(fields[0])")
    }

    @Test func wantOfMemoryIsAnEvent() async throws {
        try await withBundle { bundle in
            bundle.change([
                "process": ["args": ["/probe", "pause"]],
                "linux": ["resources": ["memory": ["limit": 16_777_216, "swap": 16_777_216]]],
            ])
            try await bundle.create()
            try await bundle.start()
            let watching = try bundle.runtime.command(root: bundle.root, ["events", "--interval", "1h", bundle.id], workdir: bundle.folder)
                .start()
            try await eventually("events is under way") { watching.text.contains("stats") }
            let ended = try await bundle.call("exec", bundle.id, "/probe", "touch=64", expecting: nil)
            #expect(ended.code == 137)
            try await eventually("the event is told") { watching.text.contains("\"oom\"") }
            try await bundle.call("kill", bundle.id, "KILL")
            let finished = try await watching.wait()
            #expect(finished.code == 0, "it ends with the container")
        }
    }
}
