internal import LunetteSpec

/// What a user is called.
///
/// /etc/passwd is read here: the C library's look-up loads modules, which a static program can't.
enum UserName {
    /// The environment's name counts where /etc/passwd says nothing else: after a change of user (`setpriv`, `su`) it is the one before's.
    static func name(of uid: UInt32, _ environment: [String: String], passwd: String) -> String {
        var names: [(name: Substring, uid: Substring)] = []
        for line in passwd.byteLines {
            let fields = line.fields(at: ":")
            if fields.count > 2 { names.append((fields[0], fields[2])) }
        }
        let own = names.filter { $0.uid == "\(uid)" }.map { String($0.name) }
        let said = [environment["USER"], environment["LOGNAME"]].compactMap { $0 }.filter { !$0.isEmpty }
        // Two names may have one number; and users of a directory service stand in no file.
        if let name = said.first(where: { name in own.contains(name) }) ?? own.first { return name }
        return said.first { name in !names.contains { $0.name == name } } ?? "uid\(uid)"
    }
}
