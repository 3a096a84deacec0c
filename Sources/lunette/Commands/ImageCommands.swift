import ArgumentParser
import LunetteAPI
import LunetteLinux
import LunetteSpec

struct RegistryOptions: ParsableArguments {
    @Option(help: ArgumentHelp("Registry user.", valueName: "name")) var username: String?
    @Flag(help: "Read the registry password from stdin.") var passwordStdin = false
    @Option(help: ArgumentHelp("false speaks plain HTTP.", valueName: "bool")) var tls: Bool?

    func add(to arguments: inout ValueMap) throws(LunetteError) {
        if let username { arguments["username"] = .string(username) }
        if let tls { arguments["tls"] = .bool(tls) }
        if passwordStdin {
            var bytes = try HostFile.read(0, what: "the password")
            while let last = bytes.last, last == 0x0a || last == 0x0d { bytes.removeLast() }
            arguments["password"] = .string(String(decoding: bytes, as: UTF8.self))
        } else if let password = Environment["LUNETTE_PASSWORD"] {
            // Not an option: everyone on the machine reads a command line.
            arguments["password"] = .string(password)
        }
    }
}

struct PullCommand: LunetteCommand {
    static let configuration = CommandConfiguration(
        commandName: "pull", _superCommandName: "lunette", abstract: "Bring images from a registry.")

    @Flag(name: [.short, .long], help: "No progress.") var quiet = false
    @Option(help: ArgumentHelp("os/architecture[/variant].", valueName: "platform")) var platform: String?
    @Option(help: ArgumentHelp("always, missing or never.", valueName: "when")) var policy = "always"
    @OptionGroup var registry: RegistryOptions
    @Argument(help: "Image references.") var image: [String]
    @OptionGroup var global: GlobalOptions

    func perform(_ client: Client) async throws(LunetteError) -> Int32 {
        var arguments: ValueMap = ["policy": .string(policy)]
        if let platform { arguments["platform"] = .string(platform) }
        try registry.add(to: &arguments)
        for image in image {
            arguments["ref"] = .string(image)
            let handle = try await ImagePull.pull(arguments, quiet: quiet, client)
            Output.print(Text.safe(handle["name"]?.stringValue ?? image))
        }
        return 0
    }
}

struct PushCommand: LunetteCommand {
    static let configuration = CommandConfiguration(
        commandName: "push", _superCommandName: "lunette", abstract: "Send an image to a registry.")

    @Flag(name: [.short, .long], help: "No progress.") var quiet = false
    @OptionGroup var registry: RegistryOptions
    @Argument(help: "The reference; it names the registry.") var image: String
    @Argument(help: "Another reference to push it as.") var to: String?
    @OptionGroup var global: GlobalOptions

    func perform(_ client: Client) async throws(LunetteError) -> Int32 {
        var arguments: ValueMap = ["ref": .string(image)]
        if let to { arguments["to"] = .string(to) }
        try registry.add(to: &arguments)
        let result = try await ImagePull.withProgress("image.push", arguments, quiet: quiet, client)
        if let digest = result["digest"]?.stringValue { Output.print(digest) }
        return 0
    }
}

struct ImagesCommand: LunetteCommand {
    static let configuration = CommandConfiguration(
        commandName: "images", _superCommandName: "lunette", abstract: "List images.")

    @Flag(name: [.short, .long], help: .hidden) var all = false
    @Flag(name: [.short, .long], help: "Only ids.") var quiet = false
    @Flag(help: "Whole ids.") var noTrunc = false
    @Flag(help: "With the manifests' digests.") var digests = false
    @Option(name: .joined("f"), help: ArgumentHelp("label=NAME[=VALUE], reference=START or dangling=true.", valueName: "filter"))
    var filter: [String] = []
    @Option(help: ArgumentHelp("json, table or a template such as '{{.Repository}}'.", valueName: "format")) var format: String?
    @Argument(help: "Only images whose reference starts so.", completion: Live.images) var reference: String?
    @OptionGroup var global: GlobalOptions

    func perform(_ client: Client) async throws(LunetteError) -> Int32 {
        var filters: ValueMap = [:]
        try Filters.read(filter, into: &filters, known: ["label", "reference", "dangling"])
        let prefix = reference ?? filters["reference"]?.stringValue
        var arguments: ValueMap = [:]
        if let labels = filters["labels"] { arguments["labels"] = labels }
        var records = try await client.call("image.inspect_all", arguments).arrayValue ?? []
        records.sort { ($0["created_at"]?.doubleValue ?? 0) > ($1["created_at"]?.doubleValue ?? 0) }
        var rows: [Listing.Row] = []
        for record in records {
            let references = (record["refs"]?.arrayValue ?? []).compactMap(\.stringValue)
            if let dangling = filters["dangling"]?.boolValue, dangling != references.isEmpty { continue }
            for name in references.isEmpty ? [nil] : references.map(Optional.some) {
                if let prefix, !ImageName.matches(name ?? "", prefix) { continue }
                rows.append(row(record, name))
            }
        }
        if quiet {
            // One id an image, however many names it has.
            var seen = Set<String>()
            rows = rows.filter { seen.insert($0.name).inserted }
        }
        var columns = [Listing.Column("REPOSITORY", "Repository"), .init("TAG", "Tag")]
        if digests { columns.append(.init("DIGEST", "Digest")) }
        columns += [.init("IMAGE ID", "ID"), .init("CREATED", "CreatedSince"), .init("SIZE", "Size")]
        try Listing(kind: "ImageInfo", columns: columns, rows: rows).print(format: format, quiet: quiet)
        return 0
    }

    private func row(_ record: Value, _ name: String?) -> Listing.Row {
        let (repository, tag) = name.map(ImageName.split) ?? ("<none>", "<none>")
        let id = record["id"]?.stringValue ?? ""
        let short = noTrunc ? id : ImageName.short(id)
        let created = record["created_at"]?.doubleValue ?? 0
        return Listing.Row(
            cells: [
                "Repository": repository, "Tag": tag, "ID": short, "Digest": record["digest"]?.stringValue ?? "",
                "CreatedSince": created > 0 ? Quantity.ago(created) : "N/A", "CreatedAt": Quantity.timestamp(created),
                "Size": Quantity.size(record["size"]?.intValue ?? 0),
            ], record: record, name: short)
    }
}

enum ImageName {
    /// Repository and tag as a listing shows them.
    static func split(_ reference: String) -> (String, String) {
        guard let parsed = try? Reference(reference) else { return (reference, "<none>") }  // Shown as it stands.
        var repository = parsed.familiar
        if let digest = parsed.digest, let at = repository.range(of: "@\(digest)") { repository.removeSubrange(at) }
        if let tag = parsed.tag, repository.hasSuffix(":\(tag)") { repository.removeLast(tag.count + 1) }
        return (repository, parsed.tag ?? "<none>")
    }

    static func short(_ digest: String) -> String {
        guard let colon = digest.firstIndex(of: ":") else { return String(digest.prefix(12)) }
        return String(digest[digest.index(after: colon)...].prefix(12))
    }

    static func matches(_ reference: String, _ prefix: String) -> Bool {
        let familiar = (try? Reference(reference))?.familiar ?? reference  // Compared as it stands.
        return reference.hasPrefix(prefix) || familiar.hasPrefix(prefix)
    }
}

extension String {
    fileprivate func range(of text: String) -> Range<Index>? {
        var index = startIndex
        while index < endIndex {
            if self[index...].hasPrefix(text) { return index..<self.index(index, offsetBy: text.count) }
            index = self.index(after: index)
        }
        return nil
    }
}

struct RemoveImageCommand: LunetteCommand {
    static let configuration = CommandConfiguration(
        commandName: "rmi", _superCommandName: "lunette", abstract: "Remove images.")

    @Flag(name: [.short, .long], help: "With all its references, even while stopped containers use it.") var force = false
    @Argument(help: "References or ids.", completion: Live.images) var image: [String]
    @OptionGroup var global: GlobalOptions

    func perform(_ client: Client) async throws(LunetteError) -> Int32 {
        let force = force
        return await forEach(image, client) { (name) throws(LunetteError) in
            let result = try await client.call("image.remove", ["image": .string(name), "force": .bool(force)])
            var lines = (result["untagged"]?.arrayValue ?? []).compactMap(\.stringValue).map { "Untagged: \($0)" }
            if result["removed"]?.boolValue == true { lines.append("Removed: \(name)") }
            for line in lines.dropLast() { Output.print(Text.safe(line)) }
            return lines.last
        }
    }
}

struct TagCommand: LunetteCommand {
    static let configuration = CommandConfiguration(
        commandName: "tag", _superCommandName: "lunette", abstract: "Give an image another reference.")

    @Argument(help: "Reference or id.", completion: Live.images) var image: String
    @Argument(help: "The new reference.") var reference: String
    @OptionGroup var global: GlobalOptions

    func perform(_ client: Client) async throws(LunetteError) -> Int32 {
        _ = try await client.call("image.tag", ["image": .string(image), "reference": .string(reference)])
        return 0
    }
}

struct LoadCommand: LunetteCommand {
    static let configuration = CommandConfiguration(
        commandName: "load", _superCommandName: "lunette", abstract: "Read images from an OCI layout or a docker-archive.",
        discussion: "Without a path, an archive is read from stdin: lunette load < image.tar")

    @Option(name: .joined("i"), help: ArgumentHelp("Folder or archive.", valueName: "path"), completion: .file()) var input: String?
    @Option(name: .joined("t"), help: ArgumentHelp("A reference to give the image.", valueName: "reference")) var tag: String?
    @Flag(name: [.short, .long], help: "No progress.") var quiet = false
    @Argument(help: "Folder or archive; - is stdin.", completion: .file()) var path: String?
    @OptionGroup var global: GlobalOptions

    func perform(_ client: Client) async throws(LunetteError) -> Int32 {
        var arguments = ValueMap()
        if let tag { arguments["tag"] = .string(tag) }
        let handle: Value
        if let path = input ?? path, path != "-" {
            arguments["path"] = .string(APIRegistry.absolutePath(path, directory: workingDirectory()))
            handle = try await ImagePull.withProgress("image.load", arguments, quiet: quiet, client)
        } else {
            guard !Output.isTerminal(0) else {
                throw LunetteError(
                    .invalidArgument, "load: no path given, and stdin is a terminal", hint: "lunette load FILE, or lunette load < FILE")
            }
            let file = try await SpooledStream.input()
            defer { file.close() }
            arguments["stdio"] = ["stdin"]
            handle = try await ImagePull.withProgress("image.load", arguments, files: [file.descriptor], quiet: quiet, client)
        }
        Output.print("Loaded: " + Text.safe(handle["name"]?.stringValue ?? handle["id"]?.stringValue ?? ""))
        return 0
    }
}

struct SaveCommand: LunetteCommand {
    static let configuration = CommandConfiguration(
        commandName: "save", _superCommandName: "lunette", abstract: "Write images to a file, or as a tar to stdout.",
        discussion: "Podman and Docker read it: lunette save IMAGE | podman load")

    private static let formats = ["oci", "oci-dir", "docker"]

    static func check(format: String) throws(LunetteError) {
        guard formats.contains(format) else {
            throw LunetteError(
                .invalidArgument, "save: --format \(Text.safe(format)) is not one of \(formats.joined(separator: ", "))",
                hint: nearest(to: format, in: formats).map { "did you mean \"\($0)\"?" })
        }
    }

    @Option(name: .joined("o"), help: ArgumentHelp("Where to write; - is stdout.", valueName: "path"), completion: .file())
    var output: String?
    @Option(help: ArgumentHelp("oci (a tar), oci-dir or docker.", valueName: "format"), completion: .list(formats))
    var format = "oci"
    @Flag(name: [.short, .long], help: "No progress.") var quiet = false
    @Argument(help: "References or ids.", completion: Live.images) var image: [String]
    @OptionGroup var global: GlobalOptions

    func perform(_ client: Client) async throws(LunetteError) -> Int32 {
        try Self.check(format: format)
        var arguments: ValueMap = ["refs": .array(image.map(Value.string)), "format": .string(format)]
        if let output, output != "-" {
            arguments["path"] = .string(APIRegistry.absolutePath(output, directory: workingDirectory()))
            _ = try await ImagePull.withProgress("image.save", arguments, quiet: quiet, client)
            return 0
        }
        guard !Output.isTerminal(1) else {
            throw LunetteError(
                .invalidArgument, "save: stdout is a terminal, and an image is no text", hint: "lunette save -o FILE, or save IMAGE > FILE")
        }
        let file = try SpooledStream()
        defer { file.close() }
        arguments["stdio"] = ["stdout"]
        // Whoever reads the pipe may show bars of its own.
        _ = try await ImagePull.withProgress("image.save", arguments, files: [file.descriptor], quiet: quiet, client)
        try await file.copy(to: 1)
        return 0
    }
}

struct HistoryCommand: LunetteCommand {
    static let configuration = CommandConfiguration(
        commandName: "history", _superCommandName: "lunette", abstract: "List the steps an image was made by.")

    @Flag(name: [.short, .long], help: "Only the commands.") var quiet = false
    @Flag(help: "Whole commands.") var noTrunc = false
    @Option(help: ArgumentHelp("json, table or a template.", valueName: "format")) var format: String?
    @Argument(help: "Reference or id.", completion: Live.images) var image: String
    @OptionGroup var global: GlobalOptions

    func perform(_ client: Client) async throws(LunetteError) -> Int32 {
        let records = try await client.call("image.history", ["image": .string(image)]).arrayValue ?? []
        let rows = records.reversed().map { record in
            let command = record["created_by"]?.stringValue ?? ""
            let created = record["created_at"]?.doubleValue
            return Listing.Row(
                cells: [
                    "CreatedSince": created.map(Quantity.ago) ?? "N/A",
                    "CreatedBy": noTrunc ? command : Text.cut(Text.safe(command), to: 60),
                    "Layer": record["empty_layer"]?.boolValue == true ? "no" : "yes", "Comment": record["comment"]?.stringValue ?? "",
                ], record: record, name: command)
        }
        try Listing(
            kind: "ImageHistory",
            columns: [
                .init("CREATED", "CreatedSince"), .init("CREATED BY", "CreatedBy"), .init("LAYER", "Layer"), .init("COMMENT", "Comment"),
            ],
            rows: Array(rows)
        ).print(format: format, quiet: quiet)
        return 0
    }
}
