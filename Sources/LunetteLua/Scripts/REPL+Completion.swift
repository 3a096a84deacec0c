internal import Glibc
internal import LunetteSpec
internal import Synchronization

extension REPL {
    /// What a word at the end of a line could become.
    package struct Completion: Sendable, Equatable {
        /// Takes the word's place.
        package var text: String
        /// What it is, for a list; empty when there is nothing to say.
        package var detail: String
        /// What follows it when it is the only one.
        package var suffix: String
        /// What a list shows: the whole name where the word is only its end; empty: the text behind its last dot or colon.
        package var shown: String

        package init(text: String, detail: String = "", suffix: String = "", shown: String = "") {
            self.text = text
            self.detail = detail
            self.suffix = suffix
            self.shown = shown
        }
    }

    /// What the word at the end of a line could become (`container.li` → `container.list`); with the session's values and the names of live
    /// objects while a REPL runs.
    /// - Parameter line: the whole line up to the cursor; nil: the word is all there is.
    package static func completions(_ text: String, line: String? = nil) -> [Completion] {
        if text.hasPrefix(":"), line == nil || line == text {
            return commands.filter { $0.name.hasPrefix(text) }.map {
                Completion(text: $0.name, detail: "\($0.use)\($0.use.isEmpty ? "" : "  ")\($0.summary)", suffix: $0.use.isEmpty ? "" : " ")
            }
        }
        var line = line ?? text
        // Behind a command stands an expression.
        if line.hasPrefix(":"), let blank = line.firstIndex(of: " ") { line = String(line[line.index(after: blank)...]) }
        let earlier = pending.withLock { $0 }
        let argument: ValueMap = ["text": .string(text), "line": .string(earlier.isEmpty ? line : earlier + "\n" + line)]
        let answer = Answer()
        @Sendable func ask(_ host: LuaHost) {
            var argument = argument
            let id = host.newToken()
            argument["id"] = .int(id)
            host.completions[id] = answer.give
            host.enter("complete", .map(argument))
        }
        if let mailbox = live.withLock({ $0 }) {
            mailbox.post(ask)
        } else {
            // Without a state there is nothing to look in: no completions, and the user goes on typing.
            guard let host = try? LuaHost(LuaHost.Options(connector: nil, directory: "/")) else { return [] }
            ask(host)
        }
        // A handler may keep the host busy, or the engine be slow: a Tab is not worth waiting for them.
        return (answer.wait(seconds: 0.5)?.arrayValue ?? []).compactMap { item in
            guard let parts = item.arrayValue, let text = parts.first?.stringValue else { return nil }
            func part(_ index: Int) -> String { index < parts.count ? parts[index].stringValue ?? "" : "" }
            return Completion(text: text, detail: part(1), suffix: part(2), shown: part(3))
        }
    }

    /// A value that another thread gives once.
    private final class Answer: Sendable {
        private let value = Mutex<Value?>(nil)

        func give(_ words: Value) { value.withLock { $0 = words } }

        func wait(seconds: Double) -> Value? {
            let deadline = monotonicNow() + seconds
            while monotonicNow() < deadline {
                if let words = value.withLock({ $0 }) { return words }
                usleep(500)
            }
            return nil
        }
    }
}
