import ArgumentParser
import LunetteSpec

struct CreateCommand: PassthroughCommand {
    static let configuration = CommandConfiguration(
        commandName: "create", _superCommandName: "lunette", abstract: "Make a container without starting it.",
        usage: "lunette create [OPTIONS] IMAGE [COMMAND…]", helpNames: .long)

    @OptionGroup var options: ContainerOptions
    @Option(help: ArgumentHelp("Write the container's id to this file.", valueName: "file")) var cidfile: String?
    @Flag(name: [.short, .long], help: "No progress of a pull.") var quiet = false
    @Argument(
        parsing: .captureForPassthrough, help: ArgumentHelp("Image, then program and arguments.", valueName: "image"),
        completion: Live.images) var words: [String] = []
    @OptionGroup var global: GlobalOptions

    func perform(_ client: Client) async throws(LunetteError) -> Int32 {
        let words = try options.newPod ? Words.none(words, command: "create") : Words.image(words, command: "create")
        let spec = try options.spec(words)
        let handle: Value
        let idFile = try CIDFile(cidfile)
        do throws(LunetteError) {
            if let image = words.first {
                try await ImagePull.ensure(image, when: options.pull, platform: options.platform, quiet: quiet, client)
            }
            handle = try await options.call("container.create", spec, client)
        } catch {
            idFile?.discard()
            throw error
        }
        DeviceAccess.tell(spec)
        Output.print(handle["id"]?.stringValue ?? "")
        try idFile?.write(handle)
        return 0
    }
}
