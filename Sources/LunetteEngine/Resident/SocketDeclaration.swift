import Glibc
import LunetteAPI
import LunetteSpec

/// Reads what a resident script has said of its sockets.
enum SocketDeclaration {
    /// - Parameter names: and places of all scripts' so far; gets these too.
    /// - Throws: `invalid_argument` with the script's line; `already_exists` for a name or a place that another socket has.
    static func read(_ values: [Value], file: String, _ names: inout Set<String>) throws(LunetteError) -> [EngineSocket] {
        var sockets: [EngineSocket] = []
        for value in values {
            let line = value["line"]?.intValue
            do throws(LunetteError) {
                let socket = try read(value)
                guard names.insert(socket.name).inserted else {
                    throw LunetteError(.alreadyExists, "a socket of the name \"\(socket.name)\" is declared already", path: "name")
                }
                if let path = socket.path, !names.insert(path).inserted {
                    throw LunetteError(
                        .alreadyExists, "another socket is declared at \(displayable(path, limit: 120)) already", path: "path")
                }
                sockets.append(socket)
            } catch {
                var failure = error
                let place = "\(value["file"]?.stringValue ?? file)\(line.map { ":\($0)" } ?? "")"
                failure.message = "\(place): lunette.socket: \(failure.path.map { "\($0): " } ?? "")\(failure.message)"
                failure.path = nil
                throw failure
            }
        }
        return sockets
    }

    private static func read(_ value: Value) throws(LunetteError) -> EngineSocket {
        var reader = try FieldReader(value)
        reader.ignore("line", "file")
        let name = try reader.required("name")
        let isName = name.utf8.allSatisfy { byte in
            (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20) || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
                || byte == UInt8(ascii: "-") || byte == UInt8(ascii: "_")
        }
        guard isName, (1...40).contains(name.utf8.count) else {
            throw reader.failure("name", "\"\(displayable(name, limit: 60))\" is not 1 to 40 letters, digits, \"-\" and \"_\"")
        }
        let path = try reader.string("path")
        if let path {
            guard path.hasPrefix("/"), path.utf8.count <= 107, !path.utf8.contains(0), path.pathParts.allSatisfy({ $0 != ".." }),
                !path.hasSuffix("/")
            else { throw reader.failure("path", "\"\(displayable(path, limit: 120))\" is not an absolute path of at most 107 bytes") }
        }
        let owner = try reader.value("owner").map { value throws(LunetteError) in try id(value, "owner", reader, user) }
        let group = try reader.value("group").map { value throws(LunetteError) in try id(value, "group", reader, self.group) }
        var mode: UInt32 = owner == nil && group == nil ? 0o600 : 0o660
        if let text = try reader.string("mode") {
            guard let number = UInt32(text, radix: 8), number <= 0o777 else {
                throw reader.failure("mode", "\"\(displayable(text, limit: 20))\" is no file mode", hint: "octal digits: \"0660\"")
            }
            mode = number
        }
        let filter = try reader.string("filter") ?? ""
        try reader.finish()
        return EngineSocket(name: name, path: path, owner: owner, group: group, mode: mode, filter: displayable(filter, limit: 200))
    }

    private static func id(
        _ value: Value, _ key: String, _ reader: FieldReader, _ find: (String) -> UInt32?
    ) throws(LunetteError) -> UInt32 {
        if let number = value.intValue, let id = UInt32(exactly: number), id != .max { return id }
        guard let name = value.stringValue else { throw reader.failure(key, "expected a name or a number, got \(value.kind)") }
        guard let id = find(name) else {
            throw reader.failure(key, "no \(key == "owner" ? "user" : "group") is called \"\(displayable(name, limit: 60))\"")
        }
        return id
    }

    private static func user(_ name: String) -> UInt32? {
        var (entry, found) = (passwd(), UnsafeMutablePointer<passwd>?.none)
        var buffer = [CChar](repeating: 0, count: 16 << 10)
        return getpwnam_r(name, &entry, &buffer, buffer.count, &found) == 0 && found != nil ? entry.pw_uid : nil
    }

    private static func group(_ name: String) -> UInt32? {
        var (entry, found) = (Glibc.group(), UnsafeMutablePointer<Glibc.group>?.none)
        var buffer = [CChar](repeating: 0, count: 64 << 10)
        return getgrnam_r(name, &entry, &buffer, buffer.count, &found) == 0 && found != nil ? entry.gr_gid : nil
    }
}

extension EngineSocket {
    /// Who may use it for what, for who is asked whether a script may open it.
    var plan: Value {
        var map: ValueMap = ["name": .string(name), "mode": .string(String(mode, radix: 8)), "filter": .string(filter)]
        map["path"] = path.map(Value.string)
        map["owner"] = owner.map { .int(Int64($0)) }
        map["group"] = group.map { .int(Int64($0)) }
        return .map(map)
    }
}
