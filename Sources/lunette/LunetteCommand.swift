import ArgumentParser
import LunetteSpec

/// A command that talks to the engine.
protocol LunetteCommand: ParsableCommand {
    var global: GlobalOptions { get }
    /// Whether the engine runs in this command whatever the options.
    var hostsEngine: Bool { get }
    /// Called on the main thread before there are others (signal masks).
    func prepare()
    /// - Returns: the exit code.
    func perform(_ client: Client) async throws(LunetteError) -> Int32
}

extension LunetteCommand {
    func run() throws {}
    var hostsEngine: Bool { false }
    func prepare() {}
}

/// A command whose words, from an image or a container on, belong to the program that it starts.
protocol PassthroughCommand: LunetteCommand {
    var words: [String] { get }
}

/// What became of one of several objects. A structure, not a pair: Swift 6.3's optimiser loses the index of a pair that a task returns
/// from a `do` with typed throws, and with it results, errors and the exit code.
private struct Done: Sendable {
    var index: Int
    var result: Result<String?, LunetteError>
}

/// What does something to each of several objects prints each as it is done, and each that failed.
func forEach(
    _ names: [String], _ client: Client, concurrently limit: Int = 16,
    _ body: @escaping @Sendable (String) async throws(LunetteError) -> String?
) async -> Int32 {
    let settings = client.settings
    return await withTaskGroup(of: Done.self) { group in
        var next = 0
        var results: [Int: Result<String?, LunetteError>] = [:]
        var printed = 0
        var code: Int32 = 0
        func add() {
            guard next < names.count else { return }
            let (index, name) = (next, names[next])
            next += 1
            group.addTask {
                do throws(LunetteError) {
                    return Done(index: index, result: .success(try await body(name)))
                } catch {
                    return Done(index: index, result: .failure(error))
                }
            }
        }
        for _ in 0..<limit { add() }
        for await done in group {
            results[done.index] = done.result
            add()
            // In the order in which they were named.
            while let result = results.removeValue(forKey: printed) {
                printed += 1
                switch result {
                case .success(let line): if let line { Output.print(Text.safe(line)) }
                case .failure(let error):
                    ErrorPrinter.print(error, settings: settings)
                    code = error.commandExitCode
                }
            }
        }
        return code
    }
}

extension NameSpecification {
    /// The long name, and a letter that takes its value with or without a blank between: `-m 64m`, `-m64m`.
    static func joined(_ letter: Character) -> NameSpecification { [.customShort(letter, allowingJoined: true), .long] }
}
