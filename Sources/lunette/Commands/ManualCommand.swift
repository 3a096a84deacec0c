import ArgumentParser
import LunetteAPI
import LunetteLinux
import LunetteSpec

/// For packages: scripts/dev/install installs what it writes.
struct ManualCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "manual", _superCommandName: "lunette", abstract: "Write the manual pages into a folder.", shouldDisplay: false)

    @Argument(help: "The folder; it is made.", completion: .directory) var folder: String

    func run() throws {
        let path = APIRegistry.absolutePath(folder, directory: workingDirectory())
        let pages = try ManualPages.all()
        try atBorder("write the manual pages into \(path)") { () throws(SystemCallError) in
            let directory = try Directory(making: path)
            for page in pages { try directory.write(page.name, Array(page.text.utf8), mode: 0o644) }
        }
    }
}
