/// A mount's options in mount(8)'s words, sorted into what the kernel takes in different places.
///
/// `ro` and its like are about the mount itself, `rro` and its like about all that is mounted below it as well (runtime-spec 1.1).
struct MountOptions {
    /// Of the top mount.
    var top = AttributeChange()
    /// Of the whole tree.
    var whole = AttributeChange()
    var isBind = false
    var isRecursive = false
    var isIDMapped = false
    /// Together with what is mounted below.
    var mapsWhole = false
    /// Changes what is mounted there instead of mounting once more.
    var isRemount = false
    var copiesUp = false
    var propagation: MountPropagation?
    /// What is the file system's own.
    var data: [FilesystemPlan.Option] = []

    /// Words of mount_setattr(2) and their opposites.
    private static let attributes: [(set: String, clear: String, attribute: MountAttributes)] = [
        ("ro", "rw", .readonly), ("nosuid", "suid", .nosuid), ("nodev", "dev", .nodev), ("noexec", "exec", .noexec),
        ("nodiratime", "diratime", .nodiratime), ("nosymfollow", "symfollow", .nosymfollow),
    ]
    /// What says nothing beyond the kernel's own way, what only mount(8) reads, and mount(2)'s I_VERSION, which fsconfig(2) has no word for.
    private static let ignored: Set<String> = ["defaults", "silent", "loud", "iversion", "noiversion"]

    static let superblockFlags: Set<String> = ["sync", "dirsync", "lazytime", "mand", "nomand"]

    init(_ options: [String], path: String) throws(LunetteError) {
        for option in options {
            if Self.ignored.contains(option) { continue }
            if let propagation = MountPropagation(word: option) {
                self.propagation = propagation
                continue
            }
            switch option {
            case "bind": isBind = true
            case "rbind": (isBind, isRecursive) = (true, true)
            case "idmap": isIDMapped = true
            case "ridmap": (isIDMapped, mapsWhole) = (true, true)
            case "remount": isRemount = true
            case "async": data.removeAll { $0.key == "sync" }
            case "nolazytime": data.removeAll { $0.key == "lazytime" }
            case "tmpcopyup": copiesUp = true
            default:
                if take(option) { continue }
                guard !option.isEmpty, !option.utf8.contains(0) else {
                    throw LunetteError(.invalidArgument, "has an empty option or one with a NUL byte", path: path)
                }
                let parts = option.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
                data.append(.init(String(parts[0]), parts.count == 2 ? String(parts[1]) : nil))
            }
        }
    }

    /// - Returns: whether it was an attribute.
    private mutating func take(_ option: String) -> Bool {
        if Self.change(option, &top) { return true }
        guard option.utf8.first == UInt8(ascii: "r") else { return false }
        return Self.change(String(option.dropFirst()), &whole)
    }

    private static func change(_ word: String, _ change: inout AttributeChange) -> Bool {
        for (set, clear, attribute) in attributes {
            if word == set {
                change.set.insert(attribute)
                change.clear.remove(attribute)
                return true
            }
            if word == clear {
                change.set.remove(attribute)
                change.clear.insert(attribute)
                return true
            }
        }
        // One field of four values: all of it is cleared before one is set (mount_setattr(2)).
        let times: MountAttributes
        switch word {
        case "noatime": times = .noatime
        case "strictatime": times = .strictatime
        case "relatime", "atime", "norelatime", "nostrictatime": times = []
        default: return false
        }
        change.set.subtract([.noatime, .strictatime])
        change.set.insert(times)
        change.clear.formUnion(.accessTimes)
        return true
    }
}
