import Glibc
import LunetteAPI
import LunetteEngine
import LunetteLua
import LunetteServer
import LunetteSpec
import Synchronization

// What scripts/dev/bench can't time from outside: dispatch to handlers alone, and calls without a script around them.
// usage: lunette-bench questions COUNT [amended]|events …|script-hook …|calls …     prints one JSON object; `amended`: only those, for a profiler

let arguments = Array(CommandLine.arguments.dropFirst())

func argument(_ index: Int, _ otherwise: Int) -> Int { arguments.count > index ? Int(arguments[index]) ?? otherwise : otherwise }

func now() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
}

func environment(_ name: String) -> String { getenv(name).map { String(cString: $0) } ?? "" }

func figures(_ times: [Double]) -> ValueMap {
    let sorted = times.sorted()
    let sum = times.reduce(0, +)
    return [
        "median": .double(sorted[sorted.count / 2]), "p99": .double(sorted[sorted.count * 99 / 100]),
        "mean": .double(sum / Double(times.count)), "count": .int(Int64(times.count)),
    ]
}

func report(_ map: ValueMap) { print(JSON.encode(.map(map))) }

/// An engine in the folders of LUNETTE_ROOT and LUNETTE_STATE with the resident code of LUNETTE_CONFIG.
func openEngine(log: @escaping @Sendable (String) -> Void) async throws -> Engine {
    var configuration = EngineConfiguration(
        root: environment("LUNETTE_ROOT"), state: environment("LUNETTE_STATE"), configuration: environment("LUNETTE_CONFIG"),
        pluginHosts: [], eventLimit: 300_000)
    configuration.residentHost = LuaResidentHost()
    configuration.log = log
    return try await Engine.open(configuration)
}

let spec: Value = [
    "name": "bench", "image": "busybox:1", "args": ["sleep", "1000"], "env": ["A": "1", "B": "2"], "labels": ["tier": "db"],
    "resources": ["memory": 268_435_456, "pids": 100],
]

/// A question that a resident handler's match excludes, one that it reads and amends, one with the amended spec decoded.
func questions(_ count: Int, amendedOnly: Bool) async throws {
    let engine = try await openEngine { print($0) }
    _ = try await engine.timeQuestions(1000, spec: spec, labels: ["tier": "db"])
    var map = ValueMap()
    if amendedOnly {
        // For a profiler.
        map["amended"] = .map(figures(try await engine.timeQuestions(count, spec: spec, labels: ["tier": "db"])))
        await engine.close()
        return report(map)
    }
    map["excluded"] = .map(figures(try await engine.timeQuestions(count, spec: spec, labels: ["tier": "web"])))
    map["amended"] = .map(figures(try await engine.timeQuestions(count, spec: spec, labels: ["tier": "db"])))
    map["decoded"] = .map(figures(try await engine.timeQuestions(count, spec: spec, labels: ["tier": "db"], decodes: true)))
    await engine.close()
    report(map)
}

/// Events to one resident `on` handler, which logs `all` when it has seen the last.
func events(_ count: Int, _ targets: Int) async throws {
    let (lines, continuation) = AsyncStream.makeStream(of: String.self)
    let engine = try await openEngine { continuation.yield($0) }
    let began = now()
    try await engine.logExits(count, targets: targets)
    let logged = now() - began
    for await line in lines where line.contains("all") { break }
    let seconds = now() - began
    await engine.close()
    report(["logged": .double(logged), "seconds": .double(seconds), "count": .int(Int64(count))])
}

/// A question to a handler of a script's own process, which says `ready` on its stdout.
func scriptHook(_ count: Int) async throws {
    let engine = try await openEngine { print($0) }
    let server = LunetteServer(state: environment("LUNETTE_STATE"), connector: engine)
    try server.start()
    let (mine, theirs) = try pipes()
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    posix_spawn_file_actions_adddup2(&actions, theirs, 1)
    var pid = pid_t()
    let words = [arguments[2], arguments[3]]
    var line: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
    let names = ["LUNETTE_ROOT", "LUNETTE_STATE", "LUNETTE_CONFIG", "PATH"]
    var variables: [UnsafeMutablePointer<CChar>?] = names.map { strdup("\($0)=\(environment($0))") } + [nil]
    guard posix_spawn(&pid, words[0], &actions, nil, &line, &variables) == 0 else { fatalError("spawn \(words[0])") }
    close(theirs)
    var byte: UInt8 = 0
    _ = read(mine, &byte, 1)
    _ = try await engine.timeQuestions(200, spec: spec, labels: ["tier": "db"])
    let times = try await engine.timeQuestions(count, spec: spec, labels: ["tier": "db"])
    kill(pid, SIGKILL)
    waitpid(pid, nil, 0)
    await server.stop()
    await engine.close()
    report(figures(times))
}

func pipes() throws -> (Int32, Int32) {
    var ends: [Int32] = [0, 0]
    guard pipe(&ends) == 0 else { fatalError("pipe") }
    return (ends[0], ends[1])
}

let nextCall = Atomic<Int>(0)

/// Calls until `count` have been made by all that do; the seconds of each.
@Sendable func ask(_ session: any EngineSession, upTo count: Int) async throws -> [Double] {
    var times: [Double] = []
    while true {
        let number = nextCall.wrappingAdd(1, ordering: .relaxed).oldValue
        if number >= count { return times }
        let began = now()
        let request = APIRequest(
            id: "bench-\(getpid())-\(number)", function: "container.find", arguments: ["container": "nobody"],
            actor: Actor(uid: getuid(), gid: getgid(), pid: getpid()))
        _ = try await session.call(request, files: [], onChunk: nil)
        times.append(now() - began)
    }
}

/// Small calls over one connection, `width` at a time.
func calls(_ count: Int, _ width: Int) async throws {
    let session = try await EngineClient(state: environment("LUNETTE_STATE"), start: nil).connect(receiver: nil)
    _ = try await session.call(
        APIRequest(
            id: "bench-\(getpid())", function: "system.version", arguments: [:], actor: Actor(uid: getuid(), gid: getgid(), pid: getpid())),
        files: [], onChunk: nil)
    let began = now()
    let times = try await withThrowingTaskGroup(of: [Double].self) { group in
        for _ in 0..<width { group.addTask { try await ask(session, upTo: count) } }
        var all: [Double] = []
        for try await times in group { all += times }
        return all
    }
    let seconds = now() - began
    await session.close()
    var map = figures(times)
    map["seconds"] = .double(seconds)
    report(map)
}

@main struct Program {
    static func main() async {
        do {
            switch arguments.first {
            case "questions": try await questions(argument(1, 100_000), amendedOnly: arguments.count > 2)
            case "events": try await events(argument(1, 100_000), argument(2, 100))
            case "script-hook": try await scriptHook(argument(1, 5000))
            case "calls": try await calls(argument(1, 100_000), argument(2, 32))
            default:
                print("usage: lunette-bench questions|events|script-hook|calls …")
                exit(2)
            }
        } catch {
            print("lunette-bench: \(error)")
            exit(1)
        }
    }
}
