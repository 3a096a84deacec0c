internal import CLuaBridge
internal import Glibc
internal import LunetteAPI
internal import LunetteLinux
package import LunetteSpec

/// Runs test files: `lunette test`.
///
/// Blocking, on the calling thread, which has to be the main one: a test file is a script like any other. With simulated engines the process's
/// jobs are taken over, so it is good for nothing else afterwards.
package enum TestRunner {
    /// - Returns: the exit code: 0, or 1 when a test failed or a file can't be run.
    /// - Throws: `not_found` for a path; `invalid_argument` when there is nothing to run.
    package static func run(_ setting: TestSetting) throws(LunetteError) -> Int32 {
        let files = try TestFiles.find(setting.paths)
        guard !files.isEmpty else {
            throw LunetteError(
                .invalidArgument, "there is no test in \(setting.paths.joined(separator: ", "))",
                hint: "tests are files *_test.lua and test.lua")
        }
        let begin = monotonicNow()
        var conductor: Conductor?
        if setting.makeEngine != nil {
            // Times of day are the same everywhere, unless the user says where.
            setenv("TZ", "UTC", 0)
            JobThread.begin()
            conductor = Conductor(time: VirtualTime())
            conductor?.begin()
        }
        let report = CountingReport(setting.makeReport())
        let coverage = setting.hasCoverage || setting.coverageFile != nil ? Coverage() : nil
        for file in files { try run(file, setting, conductor, report, coverage) }
        conductor?.end()
        if report.count == 0, let filter = setting.filter {
            throw LunetteError(
                .invalidArgument, "no test's name matches \"\(displayable(filter, limit: 80))\"", path: "--filter",
                hint: "it is a Lua pattern: - and . have meanings, %- and %. stand for themselves")
        }
        if report.count == 0 {
            throw LunetteError(
                .invalidArgument, "there is no test in \(setting.paths.joined(separator: ", "))", hint: "test.it(name, f) makes one")
        }
        report.finish(seconds: monotonicNow() - begin)
        if let coverage {
            let found = try coverage.report()
            if setting.hasCoverage { setting.tell(CoverageReport.table(found)) }
            if let path = setting.coverageFile {
                try FileTree.write(
                    APIRegistry.absolutePath(path, directory: ScriptRunner.workingDirectory()), Array(CoverageReport.lcov(found).utf8),
                    isAppending: false, mode: 0o666, roots: nil)
            }
        }
        return report.failed == 0 ? 0 : 1
    }

    private static func run(
        _ file: String, _ setting: TestSetting, _ conductor: Conductor?, _ report: CountingReport, _ coverage: Coverage?
    ) throws(LunetteError) {
        let folder = try temporaryFolder()
        defer { remove(folder) }
        let connector = TestConnector(real: setting.connector)
        let host: LuaHost
        let asker: TestAsker
        let source: [UInt8]
        let directory = ScriptRunner.workingDirectory()
        let begin = monotonicNow()
        do throws(LunetteError) {
            source = try FileTree.read(file, roots: nil)
            let late = LateWatch()
            let watched = WatchedConnector(engine: connector, watch: late)
            let settling: any EngineConnector = conductor.map { SettlingConnector(engine: watched, conductor: $0) } ?? watched
            var options = LuaHost.Options(connector: settling, directory: directory, script: file)
            options.time = conductor?.time
            options.watch = conductor == nil ? nil : late
            host = try LuaHost(options)
            asker = TestAsker(mailbox: host.mailbox, isSimulated: conductor != nil)
            late.watch = asker
        } catch {
            return report.add(TestResult(file: file, failure: TestFailure(message: error.description)))
        }
        let testing = TestHost(setting, folder: folder, conductor, connector, asker, report, coverage)
        host.testing = testing
        let absolute = APIRegistry.absolutePath(file, directory: directory)
        let scriptFolder = "/" + absolute.pathParts.dropLast().joined(separator: "/")
        var request: ValueMap = [
            "source": .text(source), "name": .string("@\(file)"), "script": .string(file), "directory": .string(scriptFolder),
            "is_simulated": .bool(conductor != nil),
        ]
        request["filter"] = setting.filter.map(Value.string)
        // Whoever reads the output may have seen enough; the folder goes all the same.
        let signals = SignalWatch(host, takesPipe: true, onEnd: { remove(folder) })
        Activity.shared.begin()
        host.activities += 1
        host.enter("test_file", .map(request))
        host.activities -= 1
        Activity.shared.end()
        let outcome = host.runToEnd()
        signals.stop()
        testing.close()
        lnt_lua_print(nil, 0)
        waitFor { await host.close() }
        host.mailbox.close()
        remove(folder)
        if signals.signal != 0 {
            report.finish(seconds: monotonicNow() - begin)
            exit(128 + signals.signal)
        }
        if outcome["ok"]?.boolValue != true {
            let error = outcome["error"] ?? .null
            var failure = TestFailure(message: error["message"]?.stringValue ?? "the file failed")
            failure.hint = error["hint"]?.stringValue
            report.add(TestResult(file: file, failure: failure))
        }
    }

    private static func temporaryFolder() throws(LunetteError) -> String {
        let base = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
        var template = Array("\(base)/lunette-test-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw .system("make a folder in \(base)", errno, path: nil) }
        return String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    private static func remove(_ folder: String) {
        do throws(LunetteError) { _ = try FileTree.remove(folder, isRecursive: true, roots: nil) } catch {
            // What a plugin under test left mounted or protected stays where temporary files are.
        }
    }

    /// Counts what another tells.
    private final class CountingReport: TestReport {
        private let report: any TestReport
        private(set) var failed = 0
        private(set) var count = 0
        init(_ report: any TestReport) { self.report = report }

        func add(_ result: TestResult) {
            count += 1
            if result.status == .failed { failed += 1 }
            report.add(result)
        }

        func finish(seconds: Double) { report.finish(seconds: seconds) }
    }
}

/// A watch that is there before the host whose test it asks.
// SAFETY: set once, before the host's first call.
final class LateWatch: CallWatch, @unchecked Sendable {
    var watch: (any CallWatch)?

    func looksAt(_ function: String) -> Bool { watch?.looksAt(function) ?? false }
    func before(_ function: String, _ arguments: Value, actor: Actor?) async throws(LunetteError) -> CallDecision {
        guard let watch else { return .goesOn(0) }
        return try await watch.before(function, arguments, actor: actor)
    }
    func after(_ number: Int64, _ failure: LunetteError?) { watch?.after(number, failure) }
}
