/// What Landlock leaves a program and its children, as a plan says it (landlock(7)). Record 50; carried out by `LandlockStep` of the shim.
package struct LandlockPlan: Sendable, Hashable {
    /// LANDLOCK_ACCESS_FS_*.
    package struct FileRights: OptionSet, Sendable, Hashable {
        package let rawValue: UInt64
        package init(rawValue: UInt64) { self.rawValue = rawValue }
        package static let execute = FileRights(rawValue: 1 << 0)
        package static let writeFile = FileRights(rawValue: 1 << 1)
        package static let readFile = FileRights(rawValue: 1 << 2)
        package static let readDirectory = FileRights(rawValue: 1 << 3)
        package static let removeDirectory = FileRights(rawValue: 1 << 4)
        package static let removeFile = FileRights(rawValue: 1 << 5)
        package static let makeCharacterDevice = FileRights(rawValue: 1 << 6)
        package static let makeDirectory = FileRights(rawValue: 1 << 7)
        package static let makeRegular = FileRights(rawValue: 1 << 8)
        package static let makeSocket = FileRights(rawValue: 1 << 9)
        package static let makeFIFO = FileRights(rawValue: 1 << 10)
        package static let makeBlockDevice = FileRights(rawValue: 1 << 11)
        package static let makeSymlink = FileRights(rawValue: 1 << 12)
        /// Linking and renaming from one folder to another (ABI 2; before it nothing may be).
        package static let refer = FileRights(rawValue: 1 << 13)
        /// ABI 3.
        package static let truncate = FileRights(rawValue: 1 << 14)
        /// ioctl(2) on a device opened under the rules (ABI 5).
        package static let deviceIoctl = FileRights(rawValue: 1 << 15)

        package static let all = FileRights(rawValue: 0xffff)
        package static let read: FileRights = [.readFile, .readDirectory]
        package static let readAndExecute: FileRights = [.readFile, .readDirectory, .execute]
        /// Everything but device nodes, which a sandbox never makes.
        package static let write: FileRights = [
            .writeFile, .removeDirectory, .removeFile, .makeDirectory, .makeRegular, .makeSocket, .makeFIFO, .makeSymlink, .refer,
            .truncate,
        ]
    }

    /// LANDLOCK_ACCESS_NET_* (ABI 4).
    package struct PortRights: OptionSet, Sendable, Hashable {
        package let rawValue: UInt64
        package init(rawValue: UInt64) { self.rawValue = rawValue }
        package static let bind = PortRights(rawValue: 1)
        package static let connect = PortRights(rawValue: 2)
    }

    /// LANDLOCK_SCOPE_* (ABI 6): what of others outside stays out of reach.
    package struct Scopes: OptionSet, Sendable, Hashable {
        package let rawValue: UInt64
        package init(rawValue: UInt64) { self.rawValue = rawValue }
        package static let abstractSocket = Scopes(rawValue: 1)
        package static let signal = Scopes(rawValue: 2)
    }

    /// What is allowed where. A rule for a folder counts for everything below it.
    package struct Rule: Sendable, Hashable {
        /// A path inside the container, or a port's number.
        package var on: String
        package var rights: UInt64
        package var words: [String]
        package init(path: String, _ rights: FileRights) {
            on = path
            self.rights = rights.rawValue
            words = rights.words
        }
        package init(port: UInt16, _ rights: PortRights) {
            on = String(port)
            self.rights = rights.rawValue
            words = rights.words
        }
    }

    /// Rights that are refused unless a rule gives them.
    package var handledFiles: FileRights
    package var handledPorts: PortRights
    package var scopes: Scopes
    /// The program's own streams may be opened again as they are open.
    package var keepsStreams: Bool
    package var paths: [Rule]
    package var ports: [Rule]

    package init(
        handledFiles: FileRights = [], handledPorts: PortRights = [], scopes: Scopes = [], keepsStreams: Bool = true, paths: [Rule] = [],
        ports: [Rule] = []
    ) {
        self.handledFiles = handledFiles
        self.handledPorts = handledPorts
        self.scopes = scopes
        self.keepsStreams = keepsStreams
        self.paths = paths
        self.ports = ports
    }

    var record: LaunchRecord {
        LaunchRecord(
            opcode: .landlock,
            fields: [
                ("files", .flags(handledFiles.rawValue, handledFiles == .all ? ["all"] : handledFiles.words)),
                ("network", .flags(handledPorts.rawValue, handledPorts.words)), ("scope", .flags(scopes.rawValue, scopes.words)),
                ("stdio", .number(keepsStreams ? 1 : 0)), ("paths", .rules(paths)), ("ports", .rules(ports)),
            ])
    }
}

extension LandlockPlan.FileRights {
    /// Letters for the common sets, the kernel's words for the rest.
    package var words: [String] {
        if self == .all { return ["all"] }
        var rest = self
        var words: [String] = []
        for (set, word) in [(Self.write, "write"), (Self.readAndExecute, "read+execute"), (Self.read, "read")]
        where rest.isSuperset(of: set) {
            words.append(word)
            rest.subtract(set)
        }
        let names: [(Self, String)] = [
            (.execute, "execute"), (.writeFile, "write-file"), (.readFile, "read-file"), (.readDirectory, "read-dir"),
            (.removeDirectory, "remove-dir"), (.removeFile, "remove-file"), (.makeCharacterDevice, "make-char"),
            (.makeDirectory, "make-dir"), (.makeRegular, "make-reg"), (.makeSocket, "make-sock"), (.makeFIFO, "make-fifo"),
            (.makeBlockDevice, "make-block"), (.makeSymlink, "make-sym"), (.refer, "refer"), (.truncate, "truncate"),
            (.deviceIoctl, "ioctl-dev"),
        ]
        return words + names.compactMap { rest.contains($0.0) ? $0.1 : nil }
    }
}

extension LandlockPlan.PortRights {
    package var words: [String] { (contains(.bind) ? ["bind"] : []) + (contains(.connect) ? ["connect"] : []) }
}

extension LandlockPlan.Scopes {
    package var words: [String] { (contains(.abstractSocket) ? ["abstract-socket"] : []) + (contains(.signal) ? ["signal"] : []) }
}
