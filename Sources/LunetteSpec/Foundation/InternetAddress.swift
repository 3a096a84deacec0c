/// Tells addresses from names, as inet_pton(3) does: this target has no C library.
package enum InternetAddress {
    /// `8.8.8.8`, `2001:db8::1`, `::ffff:8.8.8.8`, and with the interface that a link-local one is reached by: `fe80::1%eth0`.
    package static func isAddress(_ text: String) -> Bool {
        guard text.utf8.contains(UInt8(ascii: ":")) else { return isVersion4(text[...]) }
        let parts = text.split(separator: "%", maxSplits: 1, omittingEmptySubsequences: false)
        // IFNAMSIZ, less the zero byte.
        if parts.count == 2 {
            let fits =
                (1...15).contains(parts[1].utf8.count) && parts[1].utf8.allSatisfy { Names.isAlphanumeric($0) || "._-".utf8.contains($0) }
            guard fits else { return false }
        }
        return isVersion6(parts[0])
    }

    private static func isVersion4(_ text: Substring) -> Bool {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        return parts.count == 4
            && parts.allSatisfy { part in
                // 010 is eight to some and ten to others.
                (1...3).contains(part.utf8.count) && part.utf8.allSatisfy { (48...57).contains($0) } && UInt8(part) != nil
                    && (part == "0" || part.utf8.first != 48)
            }
    }

    private static func isVersion6(_ text: Substring) -> Bool {
        var groups = text.split(separator: ":", omittingEmptySubsequences: false)
        // "::" stands for at least one group of zeros, once; at an end it leaves two empty parts, between groups one.
        let isShortened = text.firstRange(of: "::") != nil
        if text.hasPrefix("::") { groups.removeFirst() }
        if text.hasSuffix("::") { groups.removeLast() }
        guard groups.filter(\.isEmpty).count == (isShortened ? 1 : 0) else { return false }
        var count = 0
        for (index, group) in groups.enumerated() where !group.isEmpty {
            if index == groups.count - 1, group.utf8.contains(UInt8(ascii: ".")) {
                guard isVersion4(group) else { return false }
                count += 2
            } else {
                guard group.utf8.count <= 4, group.utf8.allSatisfy(isHexadecimal) else { return false }
                count += 1
            }
        }
        return isShortened ? count < 8 : count == 8
    }

    private static func isHexadecimal(_ byte: UInt8) -> Bool {
        (48...57).contains(byte) || (65...70).contains(byte) || (97...102).contains(byte)
    }
}
