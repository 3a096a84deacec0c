internal import CLinux
package import Glibc
package import LunetteSpec

/// Moves bytes between our own stdin and stdout and a terminal's master. Nothing blocks; the caller polls.
package final class TerminalRelay {
    private let master: FileDescriptor
    /// Held, the terminal never looks closed: a program may close all of it and open /dev/tty again. Its end is then known otherwise.
    private let peer: FileDescriptor?
    /// Our stdout opened once more: the flag that keeps a slow terminal from blocking us would be everybody's who shares the first.
    private let ownOutput: FileDescriptor?
    private var output: Int32 { ownOutput?.number ?? 1 }
    private var before: termios?
    private var toMaster: [UInt8] = []
    private var toOutput: [UInt8] = []
    private var stdinIsOpen = true
    private var masterIsOpen = true

    /// Our own terminal, if stdin is one, becomes raw: keys are the program's.
    /// - Parameter keepsOpen: the program's end is known otherwise than by the end of its terminal.
    package init(_ master: FileDescriptor, keepsOpen: Bool = false) throws(LunetteError) {
        self.master = master
        try atBorder("relay the terminal", { () throws(SystemCallError) in try master.setNonblocking(true) })
        peer =
            keepsOpen
            ? FileDescriptor(
                owning: try atBorder(
                    "open the program's terminal",
                    { () throws(SystemCallError) in try check(lnt_open_terminal_peer(master.number), "ioctl TIOCGPTPEER") }))
            : nil
        let opened = isatty(1) == 1 ? lnt_host_openat(-100, "/proc/self/fd/1", O_WRONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC, 0) : -1
        // A terminal of another user (su) may not be opened again: the shared one is as good but for its patience.
        ownOutput = opened >= 0 ? FileDescriptor(owning: opened) : nil
        makeRaw()
    }

    /// Once more after we were stopped, when the shell had its own mode.
    package func makeRaw() {
        var settings = termios()
        guard before == nil, tcgetattr(0, &settings) == 0 else { return }
        before = settings
        cfmakeraw(&settings)
        tcsetattr(0, TCSANOW, &settings)
        // Read in the background, it looked like its end.
        stdinIsOpen = true
    }

    /// Gives our own terminal back as it was before.
    package func restore() {
        guard var before else { return }
        tcsetattr(0, TCSADRAIN, &before)
        self.before = nil
    }

    /// Gives the program's terminal the size of ours.
    package func resize() {
        var size = winsize()
        guard ioctl(0, UInt(TIOCGWINSZ), &size) == 0, size.ws_row > 0, size.ws_col > 0 else { return }
        _ = lnt_set_terminal_size(master.number, UInt32(size.ws_row), UInt32(size.ws_col))
    }

    private static let limit = 1 << 16

    /// Adds what poll(2) is to wait for.
    package func watch(_ list: inout [pollfd]) {
        if masterIsOpen {
            var events = 0
            if toOutput.count < Self.limit { events |= Int(POLLIN) }
            if !toMaster.isEmpty { events |= Int(POLLOUT) }
            list.append(pollfd(fd: master.number, events: Int16(events), revents: 0))
        }
        if stdinIsOpen, toMaster.count < Self.limit { list.append(pollfd(fd: 0, events: Int16(POLLIN), revents: 0)) }
        if !toOutput.isEmpty { list.append(pollfd(fd: output, events: Int16(POLLOUT), revents: 0)) }
    }

    /// Moves what poll(2) found ready.
    /// - Parameter list: what `watch` added, with its answers; other entries are passed over.
    package func move(_ list: [pollfd]) {
        for entry in list where entry.revents != 0 {
            if entry.fd == master.number {
                if entry.revents & Int16(POLLOUT) != 0 { write(&toMaster, to: master.number) }
                if entry.revents & Int16(POLLIN | POLLHUP | POLLERR) != 0 { masterIsOpen = read(master.number, into: &toOutput) }
            } else if entry.fd == 0 {
                stdinIsOpen = read(0, into: &toMaster)
            } else if entry.fd == output {
                write(&toOutput, to: output)
            }
        }
    }

    /// What is in the terminal when the program has ended still comes out.
    package func drain() {
        while masterIsOpen, toOutput.count < 1 << 22 {
            let before = toOutput.count
            masterIsOpen = read(master.number, into: &toOutput)
            if toOutput.count == before { break }
        }
        while !toOutput.isEmpty {
            var entry = pollfd(fd: output, events: Int16(POLLOUT), revents: 0)
            guard poll(&entry, 1, -1) > 0, entry.revents & Int16(POLLERR | POLLNVAL) == 0 else { return }
            write(&toOutput, to: output)
        }
    }

    /// - Returns: false at the end.
    private func read(_ fd: Int32, into bytes: inout [UInt8]) -> Bool {
        var buffer = [UInt8](repeating: 0, count: 16384)
        let count = Glibc.read(fd, &buffer, buffer.count)
        if count > 0 {
            bytes += buffer.prefix(count)
            return true
        }
        return count < 0 && (errno == EAGAIN || errno == EINTR)
    }

    private func write(_ bytes: inout [UInt8], to fd: Int32) {
        let count = Glibc.write(fd, bytes, bytes.count)
        if count > 0 {
            bytes.removeFirst(count)
        } else if count < 0, errno != EAGAIN, errno != EINTR {
            // Nobody reads it any more.
            bytes = []
        }
    }
}
