internal import Glibc
internal import LunetteLinux
internal import LunetteSpec

/// Runs the bundle's hooks that are the runtime's to run, as programs of the host (runtime-spec, config.md "POSIX-platform Hooks").
/// createContainer and startContainer are run by lunette-shim, inside.
enum Hooks {
    /// Runs all in order, as children of ours in the runtime's namespaces, the state on stdin.
    /// - Parameters:
    ///   - kind: what errors call them.
    ///   - isGone: whether what they are run for is there no more: the one that runs then is killed after `grace`, the next aren't run.
    /// - Throws: at the first that fails, with the end of what it wrote.
    static func run(
        _ hooks: [RuntimeSpec.Hook], _ kind: String, state: ContainerDocument, folder: Directory?, isGone: (() -> Bool)? = nil
    ) throws(LunetteError) {
        for (index, hook) in hooks.enumerated() where isGone?() != true {
            try run(hook, name: "hooks.\(kind)[\(index)]", state: state, folder: folder, isGone: isGone)
        }
    }

    /// Seconds that a hook has when its container has been removed: it may be the hook itself that removes it, and the poststop hooks with that.
    private static let grace = 5.0

    /// Runs all; one that fails is told to `warn`, and the next is run all the same.
    static func runAll(
        _ hooks: [RuntimeSpec.Hook], _ kind: String, state: ContainerDocument, folder: Directory?, warn: (LunetteError) -> Void
    ) {
        for (index, hook) in hooks.enumerated() {
            do throws(LunetteError) { try run(hook, name: "hooks.\(kind)[\(index)]", state: state, folder: folder, isGone: nil) } catch {
                warn(error)
            }
        }
    }

    private static func run(
        _ hook: RuntimeSpec.Hook, name: String, state: ContainerDocument, folder: Directory?, isGone: (() -> Bool)?
    ) throws(LunetteError) {
        let what = "run hook \(displayable(hook.path, limit: 200))"
        func failure(_ why: String, code: ErrorCode = .io) -> LunetteError { LunetteError(code, "\(what): \(why)", path: name) }
        let child: ProcessDescriptor
        let output: FileDescriptor
        do throws(SystemCallError) {
            // Sealed memory, not a pipe: a hook that never reads its stdin can't hold us up.
            let input = try SealedMemory.make("lunette-state", Array(JSON.encode(state.value).utf8))
            let (read, write) = try FileDescriptor.pipe()
            var request = SpawnRequest(
                .path(hook.path), arguments: hook.args.isEmpty ? [hook.path] : hook.args, environment: hook.env,
                descriptors: [input, write, write])
            request.directory = folder
            child = try spawn(request)
            output = read
        } catch {
            throw failure(errnoText(error.errno), code: errorCode(forErrno: error.errno))
        }
        let (text, ended) = collect(output, child, seconds: hook.timeout, isGone: isGone)
        let status: WaitStatus?
        do throws(SystemCallError) {
            if !ended {
                // Its group: what it started meanwhile goes with it.
                kill(-child.pid, SIGKILL)
                try child.signal(SIGKILL)
            }
            status = try child.reap(block: true).map(WaitStatus.init(raw:))
        } catch { throw failure("\(error)") }
        guard ended || isGone?() != true else { throw failure("its container has been removed") }
        guard ended else { throw failure("it took longer than \(hook.timeout ?? 0) s", code: .timeout) }
        guard let status, status.code != 0 else { return }
        let said = text.isEmpty ? "" : ": \(text)"
        throw failure((status.signal.map { "it was killed by signal \($0)" } ?? "it ended with exit code \(status.code)") + said)
    }

    /// Waits for the end of the child, keeping the last of what it wrote. What the child's own children hold open is not waited for.
    private static func collect(
        _ output: FileDescriptor, _ child: ProcessDescriptor, seconds: Int64?, isGone: (() -> Bool)?
    ) -> (String, Bool) {
        var deadline = seconds.map { SystemClock.monotonic + Double($0) } ?? .infinity
        var isEnding = false
        var kept: [UInt8] = []
        var isOpen = true
        // What it left in the pipe at its end, and no more: its children may write for ever.
        var readsAfterEnd = 16
        while true {
            var list = [pollfd(fd: child.descriptor.number, events: Int16(POLLIN), revents: 0)]
            if isOpen { list.append(pollfd(fd: output.number, events: Int16(POLLIN), revents: 0)) }
            if !isEnding, isGone?() == true {
                isEnding = true
                deadline = min(deadline, SystemClock.monotonic + grace)
            }
            let left = max(0, deadline - SystemClock.monotonic)
            // Nothing wakes us when a folder goes: looked at four times a second.
            let wait = min(left, isGone == nil ? .infinity : 0.25)
            let ready = poll(&list, nfds_t(list.count), wait == .infinity ? -1 : Int32(min(1e9, wait * 1000)))
            if ready < 0 { continue }
            let hasEnded = list[0].revents != 0
            if !hasEnded, left == 0 { return ("", false) }
            if isOpen, list[1].revents != 0, readsAfterEnd > 0 {
                if hasEnded { readsAfterEnd -= 1 }
                // Its end, or an error that is its end.
                let part = (try? output.read(upTo: 4096)) ?? []
                if part.isEmpty { isOpen = false } else { kept = (kept + part).suffix(4096) }
                continue
            }
            if hasEnded { return (displayable(String(decoding: kept, as: UTF8.self).trimmed, limit: 500), true) }
        }
    }
}
