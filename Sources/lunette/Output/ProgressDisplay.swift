import Glibc
import LunetteAPI
import LunetteLinux
import LunetteSpec
import Synchronization

/// Shows how far a pull, push, load, save or build is: bars on a terminal, a line for each finished step otherwise. On stderr.
final class ProgressDisplay: Sendable {
    private struct Step {
        var key: String
        var phase: String
        var current: Int64
        var total: Int64?
    }

    private struct State {
        var steps: [Step] = []
        var drawn = 0
        var lastDraw = 0.0
    }

    private let state = Mutex(State())
    private let isTerminal = Output.isTerminal(2) && Environment["TERM"] != "dumb"
    private let isQuiet: Bool

    init(isQuiet: Bool = false) { self.isQuiet = isQuiet }

    /// Takes one chunk of progress.
    func take(_ chunk: Value) {
        if isQuiet { return }
        if let message = chunk["message"]?.byteString {
            say(String(decoding: message, as: UTF8.self))
            return
        }
        guard let phase = chunk["phase"]?.stringValue else { return }
        let key = chunk["digest"]?.stringValue.map(Self.short) ?? phase
        state.withLock { state in
            let index = state.steps.firstIndex { $0.key == key } ?? state.steps.count
            let before = index < state.steps.count ? state.steps[index].phase : nil
            let step = Step(key: key, phase: phase, current: chunk["current"]?.intValue ?? 0, total: chunk["total"]?.intValue)
            if index == state.steps.count { state.steps.append(step) } else { state.steps[index] = step }
            if isTerminal {
                draw(&state, isLast: false)
            } else if before != phase {
                Output.note(Text.safe(key == phase ? phase : "\(key): \(phase)"))
            }
        }
    }

    /// Leaves the last state on the screen.
    func finish() {
        state.withLock { state in
            if isTerminal, !state.steps.isEmpty {
                for index in state.steps.indices { if let total = state.steps[index].total { state.steps[index].current = total } }
                draw(&state, isLast: true)
            }
            state.steps = []
            state.drawn = 0
        }
    }

    /// Prints a line above the bars.
    private func say(_ text: String) {
        let lines = text.split(separator: "\n", omittingEmptySubsequences: true).map { Text.safe(String($0)) }
        state.withLock { state in
            if isTerminal, state.drawn > 0 {
                Output.write(2, Array("\u{1b}[\(state.drawn)A\u{1b}[J".utf8))
                state.drawn = 0
            }
            for line in lines { Output.note(line) }
            if isTerminal { draw(&state, isLast: true) }
        }
    }

    private func draw(_ state: inout State, isLast: Bool) {
        let now = MonotonicClock.now
        guard isLast || now - state.lastDraw > 0.08 else { return }
        state.lastDraw = now
        let size = TerminalSize.of(2) ?? TerminalSize(rows: 24, columns: 80)
        // What is finished scrolls out of the way when there are more steps than rows.
        let shown = state.steps.suffix(max(1, size.rows - 2))
        var text = state.drawn > 0 ? "\u{1b}[\(state.drawn)A" : ""
        for step in shown { text += "\r\u{1b}[2K" + Self.line(step, columns: size.columns) + "\n" }
        Output.write(2, Array(text.utf8))
        state.drawn = shown.count
    }

    private static func line(_ step: Step, columns: Int) -> String {
        // A step of the whole image has no blob to name.
        let head = Text.padded(step.key == step.phase ? "" : Text.safe(step.key), to: 14) + Text.padded(Text.safe(step.phase), to: 10)
        guard let total = step.total, total > 0 else {
            return Text.cut(head + (step.current > 0 ? Quantity.size(step.current) : ""), to: columns - 1)
        }
        let isBytes = total > 4096
        let numbers = isBytes ? "\(Quantity.size(step.current))/\(Quantity.size(total))" : "\(step.current)/\(total)"
        let width = max(10, min(40, columns - Text.width(head) - 22))
        let filled = Int(Double(width) * Double(max(0, min(step.current, total))) / Double(total))
        let bar = String(repeating: "━", count: filled) + String(repeating: "─", count: width - filled)
        return Text.cut("\(head)\(bar) \(numbers)", to: columns - 1)
    }

    private static func short(_ digest: String) -> String {
        guard let colon = digest.firstIndex(of: ":") else { return digest }
        return String(digest[digest.index(after: colon)...].prefix(12))
    }
}
