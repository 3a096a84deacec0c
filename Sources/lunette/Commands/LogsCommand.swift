import ArgumentParser
import LunetteSpec
import Synchronization

struct LogsCommand: LunetteCommand {
    static let configuration = CommandConfiguration(
        commandName: "logs", _superCommandName: "lunette", abstract: "Show what a container has written.")

    @Flag(name: [.short, .long], help: "Go on until it ends.") var follow = false
    @Option(help: ArgumentHelp("Only from this unix time on, or this long ago (10m).", valueName: "time")) var since: String?
    @Option(help: ArgumentHelp("Only up to this unix time, or this long ago.", valueName: "time")) var until: String?
    @Option(
        name: [.customShort("n", allowingJoined: true), .customLong("tail")],
        help: ArgumentHelp("Only so many lines from the end; all.", valueName: "number"))
    var tail: String?
    @Flag(name: [.short, .long], help: "Put the time before each line.") var timestamps = false
    @Argument(help: "Name or id.", completion: Live.containers) var container: String
    @OptionGroup var global: GlobalOptions

    func perform(_ client: Client) async throws(LunetteError) -> Int32 {
        var arguments: ValueMap = ["container": .string(container), "follow": .bool(follow)]
        if let since { arguments["since"] = Pairs.number(since) }
        if let until { arguments["until"] = Pairs.number(until) }
        if let tail, tail != "all" {
            guard let count = Int64(tail), count >= 0 else {
                throw LunetteError(.invalidArgument, "read --tail \"\(tail)\"", hint: "a number of lines, or \"all\"")
            }
            arguments["tail"] = .int(count)
        }
        // Lines come as chunks, also without --follow: a long log never stands whole in anyone's memory.
        let printer = LogPrinter(showsTimes: timestamps)
        _ = try await client.call("container.follow_logs", arguments) { (chunk) throws(LunetteError) in
            guard printer.take(chunk) else { throw LunetteError(.cancelled, "print the log: nobody reads it any more") }
        }
        return 0
    }
}

/// Prints lines on the stream they were written to, byte for byte.
final class LogPrinter: Sendable {
    private let showsTimes: Bool
    /// Streams whose last line goes on in the next chunk.
    private let open = Mutex<Set<String>>([])

    init(showsTimes: Bool) { self.showsTimes = showsTimes }

    /// - Returns: false when nobody reads.
    func take(_ line: Value) -> Bool {
        let stream = line["stream"]?.stringValue ?? "stdout"
        var bytes: [UInt8] = []
        let continues = open.withLock { open in
            let continues = open.contains(stream)
            if line["partial"]?.boolValue == true { open.insert(stream) } else { open.remove(stream) }
            return continues
        }
        if showsTimes, !continues, let time = line["time"]?.doubleValue { bytes += Array((Quantity.timestamp(time) + " ").utf8) }
        bytes += line["data"]?.byteString ?? []
        if line["partial"]?.boolValue != true { bytes.append(0x0a) }
        return Output.write(stream == "stderr" ? 2 : 1, bytes)
    }
}
