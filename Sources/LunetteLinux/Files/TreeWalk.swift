internal import CLinux

/// Goes through a tree of any depth, a folder's entries before the folder's end. Reads by descriptor and follows nothing; who walks says which folders
/// are gone into.
package struct TreeWalk {
    /// What comes next.
    package enum Step {
        /// A raw name in the current folder, with its NUL.
        case entry([CChar])
        /// Everything in the folder was met; `leave()` goes back up. Not said of the top.
        case end
    }

    /// Names that wait in all folders above: sorted ones are held in memory.
    private enum Names {
        case sorted([[CChar]])
        case listed(FolderListing)
    }

    package private(set) var path: TreePath
    private var trail: FolderTrail
    private var names: [Names]
    private let isSorted: Bool
    /// Names held in memory.
    package private(set) var waiting = 0

    /// - Parameters:
    ///   - top: opened for reading; nobody else may read through it.
    ///   - sorted: by bytes. Otherwise in the kernel's order, a piece at a time.
    package init(_ top: FileDescriptor, label: String, sorted: Bool) throws(SystemCallError) {
        path = TreePath(label)
        trail = try FolderTrail(top, label: label)
        isSorted = sorted
        names = []
        names.append(try list())
    }

    /// The folder where the walk is.
    package var folder: FileDescriptor { trail.current }
    /// The same for messages and for `status`, `open` and the like.
    package var directory: Directory { Directory(trail.current, label: path.shown()) }
    /// Folders below the top.
    package var depth: Int { path.depth }

    /// - Returns: nil when the whole tree was met.
    package mutating func next() throws(SystemCallError) -> Step? {
        let index = names.count - 1
        var found: [CChar]?
        switch names[index] {
        case .sorted(var left):
            names[index] = .sorted([])
            found = left.popLast()
            names[index] = .sorted(left)
            if found != nil { waiting -= 1 }
        case .listed(var listing):
            names[index] = .sorted([])
            found = try listing.next(of: folder.number) { path.shown() }
            names[index] = .listed(listing)
        }
        if let found { return .entry(found) }
        return index == 0 ? nil : .end
    }

    /// Goes on inside a folder of the current one.
    package mutating func enter(_ name: [CChar], _ folder: FileDescriptor) throws(SystemCallError) {
        // Where the descriptor goes, what was read ahead goes too.
        if trail.depth >= FolderTrail.kept, case .listed(let listing) = names[names.count - 1] {
            names[names.count - 1] = .listed(FolderListing(from: listing.position))
        }
        try trail.enter(folder, path.shown(name))
        path.enter(name)
        names.append(try list())
    }

    /// Goes back up, after `end`.
    package mutating func leave() throws(SystemCallError) {
        if case .sorted(let left) = names.removeLast() { waiting -= left.count }
        try trail.leave(path.shown())
        path.leave()
    }

    private mutating func list() throws(SystemCallError) -> Names {
        guard isSorted else { return .listed(FolderListing()) }
        var listing = FolderListing()
        var all: [[CChar]] = []
        while let name = try listing.next(of: folder.number, { path.shown() }) { all.append(name) }
        waiting += all.count
        // The first is the last, so that each is taken off at no cost.
        all.sort { later, earlier in
            earlier.lazy.map(UInt8.init(bitPattern:)).lexicographicallyPrecedes(later.lazy.map(UInt8.init(bitPattern:)))
        }
        return .sorted(all)
    }
}

/// A raw path as text that tells apart what differs: bytes that aren't UTF-8 as `\xfe`.
package func escapedText(of bytes: [UInt8]) -> String {
    if let whole = String(validating: bytes, as: UTF8.self) { return whole }
    var (text, rest) = ("", bytes[...])
    while let first = rest.first {
        if let length = (1...4).first(where: { String(validating: rest.prefix($0), as: UTF8.self) != nil }) {
            text += String(decoding: rest.prefix(length), as: UTF8.self)
            rest = rest.dropFirst(length)
        } else {
            let digits = String(first, radix: 16)
            text += "\\x" + (digits.utf8.count == 1 ? "0" : "") + digits
            rest = rest.dropFirst()
        }
    }
    return text
}

/// A raw name as text, for messages and where only text is known.
package func text(of name: [CChar]) -> String { String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self) }
