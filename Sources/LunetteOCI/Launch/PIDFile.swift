internal import CLinux
internal import LunetteLinux
internal import LunetteSpec

/// `--pid-file`: whole or not there, as those who watch for it expect.
enum PIDFile {
    static func write(_ pid: Int32, to path: String) throws(LunetteError) {
        let whole = absolute(path)
        let slash = whole.lastIndex(of: "/") ?? whole.startIndex
        let folder = slash == whole.startIndex ? "/" : String(whole[..<slash])
        let name = String(whole[whole.index(after: slash)...])
        guard !name.isEmpty else { throw LunetteError(.invalidArgument, "--pid-file: \(displayable(path)) names no file") }
        try atBorder(
            "write the pid file",
            { () throws(SystemCallError) in
                let flags = OpenFlags([.directory])
                let opened = try check(lnt_host_openat(-100, folder, Int32(flags.rawValue), 0), "open directory", folder)
                try Directory(FileDescriptor(owning: opened), label: folder).write(name, Array(String(pid).utf8), mode: 0o644)
            })
    }
}
