internal import CLinux
internal import Glibc
internal import LunetteLinux
internal import LunetteSpec

/// Moves bytes between our own stdin and stdout and a terminal's master.
final class TerminalRelay {
    private let master: FileDescriptor
    private var before: termios?
    private var toMaster: [UInt8] = []
    private var toOutput: [UInt8] = []
    private var stdinIsOpen = true
    private var masterIsOpen = true

    /// Our own terminal, if stdin is one, becomes raw: keys are the program's.
    init(_ master: FileDescriptor) throws(LunetteError) {
        self.master = master
        try atBorder("relay the terminal", { () throws(SystemCallError) in try master.setNonblocking(true) })
        var settings = termios()
        guard tcgetattr(0, &settings) == 0 else { return }
        before = settings
        cfmakeraw(&settings)
        tcsetattr(0, TCSANOW, &settings)
    }

    func restore() {
        guard var before else { return }
        tcsetattr(0, TCSADRAIN, &before)
        self.before = nil
    }

    /// Gives the program's terminal the size of ours.
    func resize() {
        var size = winsize()
        guard ioctl(0, UInt(TIOCGWINSZ), &size) == 0, size.ws_row > 0, size.ws_col > 0 else { return }
        _ = lnt_set_terminal_size(master.number, UInt32(size.ws_row), UInt32(size.ws_col))
    }

    private static let limit = 1 << 16

    func watch(_ list: inout [pollfd]) {
        if masterIsOpen {
            var events = 0
            if toOutput.count < Self.limit { events |= Int(POLLIN) }
            if !toMaster.isEmpty { events |= Int(POLLOUT) }
            list.append(pollfd(fd: master.number, events: Int16(events), revents: 0))
        }
        if stdinIsOpen, toMaster.count < Self.limit { list.append(pollfd(fd: 0, events: Int16(POLLIN), revents: 0)) }
        if !toOutput.isEmpty { list.append(pollfd(fd: 1, events: Int16(POLLOUT), revents: 0)) }
    }

    func move(_ list: [pollfd]) {
        for entry in list where entry.revents != 0 {
            if entry.fd == master.number {
                if entry.revents & Int16(POLLOUT) != 0 { write(&toMaster, to: master.number) }
                if entry.revents & Int16(POLLIN | POLLHUP | POLLERR) != 0 { masterIsOpen = read(master.number, into: &toOutput) }
            } else if entry.fd == 0 {
                stdinIsOpen = read(0, into: &toMaster)
            } else if entry.fd == 1 {
                write(&toOutput, to: 1)
            }
        }
    }

    /// What is in the terminal when the program has ended still comes out.
    func drain() {
        while masterIsOpen, toOutput.count < 1 << 22 {
            let before = toOutput.count
            masterIsOpen = read(master.number, into: &toOutput)
            if toOutput.count == before { break }
        }
        while !toOutput.isEmpty {
            var entry = pollfd(fd: 1, events: Int16(POLLOUT), revents: 0)
            guard poll(&entry, 1, -1) > 0, entry.revents & Int16(POLLERR | POLLNVAL) == 0 else { return }
            write(&toOutput, to: 1)
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
