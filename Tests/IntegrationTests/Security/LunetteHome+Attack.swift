import Foundation
import LunetteTesting

extension LunetteHome {
    /// Runs the probe in a container of its own.
    /// - Parameters:
    ///   - arguments: the probe's.
    ///   - options: of `lunette run`, before the image.
    /// - Returns: what it said, by the first word of each line.
    func attack(_ arguments: String..., options: [String] = []) async throws -> [String: String] {
        let image = try await load(.busybox)
        let probe = try await CProbe.attack.path()
        let finished = try await command(["run", "--rm", "-v", "\(probe):/attack:ro"] + options + [image, "/attack"] + arguments).run(
            timeout: .seconds(120))
        return Self.answers(finished.lines)
    }

    static func answers(_ lines: [String]) -> [String: String] {
        var result: [String: String] = [:]
        for line in lines {
            let words = line.split(separator: " ", maxSplits: 1).map(String.init)
            if words.count == 2 { result[words[0]] = words[1] }
        }
        return result
    }

    /// A root folder of busybox alone, to be made hostile.
    func makeRoot(_ name: String) async throws -> String {
        let root = "\(folder)/\(name)"
        try await Command.shell(
            """
            mkdir -p \(root)/bin \(root)/etc \(root)/tmp
            cp /bin/busybox \(root)/bin/busybox
            for applet in sh cat echo ls id sleep true touch; do ln -sf busybox \(root)/bin/$applet; done
            echo 'root:x:0:0:root:/root:/bin/sh' > \(root)/etc/passwd; echo 'root:x:0:' > \(root)/etc/group
            """
        ).run()
        // An ordinary user's root folder is that user's.
        if let user { try await Command("chown", "-R", "\(user.uid):\(user.uid)", root).run() }
        return root
    }

    /// Runs a shell line in a container on a root folder; whatever comes of it is the answer.
    func run(root: String, _ line: String, user: String? = nil, timeout: Duration = .seconds(60)) async throws -> Finished {
        let user = user.map { ", user = '\($0)'" } ?? ""
        let script = """
            local lunette = require 'lunette'
            local c = lunette.container.create { rootfs = '\(root)', args = { '/bin/sh', '-c', [==[\(line)]==] }\(user) }
            local ok, err = lunette.try(c.start, c)
            local exit = ok and c:wait{ timeout = '30s' }
            if ok then io.write(c:logs{}) end
            c:remove{ force = true }
            if not ok then error(err, 0) end
            os.exit(exit.code)
            """
        return try await self.script(script, expecting: nil)
    }
}
