package import LunetteAPI
package import LunetteLinux
package import LunettePlugins
package import LunetteSpec

/// What `lunette test` was asked for.
package struct TestSetting: Sendable {
    /// What a simulated engine stands on.
    package struct EngineParts: Sendable {
        package var director: any SimulationDirector
        package var time: VirtualTime
        package var residentHost: any ResidentHost
        package var pluginHosts: [any PluginHost]
        package var folder: String
        package var log: @Sendable (String) -> Void
    }

    /// Opens a simulated engine.
    package typealias MakeEngine = @Sendable (EngineParts) async -> Result<any SimulatedEngine, LunetteError>

    package enum Format: String, Sendable, CaseIterable { case human, tap, junit, json }

    /// Files and folders, as they were given.
    package var paths: [String]
    package var format = Format.human
    /// A Lua pattern that the whole name of a test has to match somewhere.
    package var filter: String?
    /// Counts which lines of the code under test ran, and tells.
    package var hasCoverage = false
    /// Where the counts are written in lcov's form; nil: nowhere.
    package var coverageFile: String?
    /// Colours and marks for a terminal.
    package var hasColour = false
    /// Opens a simulated engine; nil: `connector` is used.
    package var makeEngine: MakeEngine?
    /// The real engine of `--real`.
    package var connector: (any EngineConnector)?
    /// Writes what is reported.
    package var write: @Sendable (String) -> Void

    package init(paths: [String], write: @escaping @Sendable (String) -> Void) {
        self.paths = paths
        self.write = write
    }
}

/// What became of one test.
struct TestResult {
    enum Status: String { case passed, failed, skipped }

    var file: String
    /// Those of the groups around it, then its own.
    var names: [String]
    var status: Status
    /// Of the wall's time.
    var seconds: Double
    /// Each with its place.
    var failures: [TestFailure]
    /// Why it was skipped.
    var reason: String?
    /// What resident code logged.
    var log: [String]

    var name: String { names.joined(separator: " › ") }

    init(_ value: Value) {
        func strings(_ key: String) -> [String] { value[key]?.arrayValue?.map { $0.stringValue ?? "" } ?? [] }
        file = value["file"]?.stringValue ?? ""
        names = strings("names")
        status = Status(rawValue: value["status"]?.stringValue ?? "") ?? .failed
        seconds = value["seconds"]?.doubleValue ?? 0
        failures = value["failures"]?.arrayValue?.map(TestFailure.init) ?? []
        reason = value["reason"]?.stringValue
        log = strings("log")
    }

    /// Of a file that could not be run at all.
    init(file: String, failure: TestFailure) {
        self.file = file
        names = [file]
        status = .failed
        seconds = 0
        failures = [failure]
        log = []
    }
}

/// One thing that was not as it should be.
struct TestFailure {
    var message: String
    /// `-` expected, `+` got, a line each; empty when there is nothing to compare.
    var diff: [String]
    /// `web_test.lua:12`.
    var place: String?
    var hint: String?

    init(message: String) {
        self.message = message
        diff = []
    }

    init(_ value: Value) {
        message = value["message"]?.stringValue ?? "failed"
        diff = value["diff"]?.arrayValue?.map { $0.stringValue ?? "" } ?? []
        place = value["place"]?.stringValue
        hint = value["hint"]?.stringValue
    }
}
