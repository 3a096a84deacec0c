/// Lists of processors as the kernel writes them: `0-2,4`.
package enum CPUList {
    /// The first number of one list that another doesn't have; nil when it has all, or either can't be read.
    package static func first(of wanted: String, notIn available: String) -> Int? {
        let there = ranges(available)
        for range in ranges(wanted) {
            for number in range where !there.contains(where: { $0.contains(number) }) { return number }
        }
        return nil
    }

    private static func ranges(_ text: String) -> [ClosedRange<Int>] {
        text.split(separator: ",").compactMap { part in
            let ends = part.split(separator: "-").compactMap { Int($0) }
            guard let first = ends.first, let last = ends.last, first <= last else { return nil }
            return first...last
        }
    }
}
