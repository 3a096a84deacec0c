internal import Glibc
internal import LunetteLinux
internal import LunetteSpec

/// Runs the bundle's hooks that are the runtime's to run, as programs of the host (runtime-spec, config.md "POSIX-platform Hooks").
/// createContainer and startContainer are run by lunette-shim, inside.
enum Hooks {
    /// Runs all in order, as children of ours in the runtime's namespaces, the state on stdin.
    /// - Parameter kind: what errors call them.
    /// - Throws: at the first that fails, with the end of what it wrote.
    static func run(_ hooks: [RuntimeSpec.Hook], _ kind: String, state: ContainerDocument, folder: Directory?) throws(LunetteError) {
        for (index, hook) in hooks.enumerated() { try run(hook, name: "hooks.\(kind)[\(index)]", state: state, folder: folder) }
    }

    /// Runs all; one that fails is told to `warn`, and the next is run all the same.
    static func runAll(
        _ hooks: [RuntimeSpec.Hook], _ kind: String, state: ContainerDocument, folder: Directory?, warn: (LunetteError) -> Void
    ) {
        for (index, hook) in hooks.enumerated() {
            do throws(LunetteError) { try run(hook, name: "hooks.\(kind)[\(index)]", state: state, folder: folder) } catch {
                warn(error)
            }
        }
    }

    private static func run(_ hook: RuntimeSpec.Hook, name: String, state: ContainerDocument, folder: Directory?) throws(LunetteError) {
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
        let (text, ended) = collect(output, child, seconds: hook.timeout)
        let status: WaitStatus?
        do throws(SystemCallError) {
            if !ended {
                // Its group: what it started meanwhile goes with it.
                kill(-child.pid, SIGKILL)
                try child.signal(SIGKILL)
            }
            status = try child.reap(block: true).map(WaitStatus.init(raw:))
        } catch { throw failure("\(error)") }
        guard ended else { throw failure("it took longer than \(hook.timeout ?? 0) s", code: .timeout) }
        guard let status, status.code != 0 else { return }
        let said = text.isEmpty ? "" : ": \(text)"
        throw failure((status.signal.map { "it was killed by signal \($0)" } ?? "it ended with exit code \(status.code)") + said)
    }

    /// Waits for the end of the child, keeping the last of what it wrote. What the child's own children hold open is not waited for.
    private static func collect(_ output: FileDescriptor, _ child: ProcessDescriptor, seconds: Int64?) -> (String, Bool) {
        let deadline = seconds.map { SystemClock.monotonic + Double($0) }
        var kept: [UInt8] = []
        var isOpen = true
        while true {
            var list = [pollfd(fd: child.descriptor.number, events: Int16(POLLIN), revents: 0)]
            if isOpen { list.append(pollfd(fd: output.number, events: Int16(POLLIN), revents: 0)) }
            let left = deadline.map { Int32(max(0, min(1e9, ($0 - SystemClock.monotonic) * 1000))) } ?? -1
            let ready = poll(&list, nfds_t(list.count), left)
            if ready < 0 { continue }
            if isOpen, list[1].revents != 0 {
                // Its end, or an error that is its end.
                let part = (try? output.read(upTo: 4096)) ?? []
                if part.isEmpty { isOpen = false } else { kept = (kept + part).suffix(4096) }
                continue
            }
            if list[0].revents != 0 { return (displayable(String(decoding: kept, as: UTF8.self).trimmed, limit: 500), true) }
            if ready == 0 { return ("", false) }
        }
    }
}
