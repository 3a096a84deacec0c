internal import LunetteLinux
internal import LunetteSpec

/// The contents of a container's /etc/hosts, /etc/hostname and /etc/resolv.conf. Pure.
enum NetworkFiles {
    /// - Parameter hostFile: the host's own /etc/hosts, for `network = "host"`.
    static func hosts(hostname: String, extra: [String], hostFile: String?) -> String {
        var text =
            hostFile ?? """
                127.0.0.1 localhost
                ::1 localhost ip6-localhost ip6-loopback
                fe00:: ip6-localnet
                ff02::1 ip6-allnodes
                ff02::2 ip6-allrouters

                """
        if !text.isEmpty, !text.hasSuffix("\n") { text += "\n" }
        // 127.0.1.1 as Debian does: the name resolves, and isn't taken for localhost's address.
        if hostFile == nil { text += "127.0.1.1 \(hostname)\n" }
        for line in extra { text += "\(line)\n" }
        return text
    }

    /// - Parameter hostFile: the host's own /etc/resolv.conf.
    static func resolver(servers: [String], hostFile: String) -> String {
        guard !servers.isEmpty else { return hostFile }
        // The host's search list and options stay; its servers go.
        let rest = hostFile.split(separator: "\n").filter { !$0.hasPrefix("nameserver") && !$0.hasPrefix("#") && !$0.hasPrefix(";") }
        return (servers.map { "nameserver \($0)" } + rest.map(String.init)).joined(separator: "\n") + "\n"
    }
}
