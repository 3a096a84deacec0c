/// The known word that a typo most likely meant: within a third of its letters in edits, three at most; nil when none is near.
///
/// The dashes of an option are no letters. Of two letters neither may be another, only swapped, missing or too many: one of two is half a word.
/// Of equally near ones, one that begins alike, then one of the same length, then the first by alphabet: a hint doesn't change between runs.
public func nearest(to word: String, in known: [String]) -> String? {
    let letters = word.count - word.prefix { $0 == "-" }.count
    guard letters > 1 else { return nil }
    let limit = max(1, min(3, letters / 3))
    var best: (word: String, rank: (Int, Int, Int))?
    for candidate in known {
        // A difference in length is at least that many edits: most candidates need no table.
        guard abs(candidate.utf8.count - word.utf8.count) <= limit else { continue }
        let distance = editDistance(word, candidate)
        guard distance <= min(limit, partLimit(word, candidate)) else { continue }
        if letters == 2, candidate.utf8.count == word.utf8.count, candidate.utf8.sorted() != word.utf8.sorted() { continue }
        let rank = (distance, candidate.first == word.first ? 0 : 1, abs(candidate.utf8.count - word.utf8.count))
        if let best, best.rank < rank || (best.rank == rank && best.word <= candidate) { continue }
        best = (candidate, rank)
    }
    return best?.word
}

/// How many slips a word of several parts may have: as many as the parts do that the two don't share. `SCMP_ACT_FOO` is nowhere near `SCMP_ACT_LOG`.
private func partLimit(_ word: String, _ candidate: String) -> Int {
    func parts(_ text: String) -> [Substring] { text.split { "_-.".contains($0) } }
    var (left, right) = (parts(word)[...], parts(candidate)[...])
    while let first = left.first, first == right.first {
        left.removeFirst()
        right.removeFirst()
    }
    while let last = left.last, last == right.last {
        left.removeLast()
        right.removeLast()
    }
    let letters = left.reduce(0) { $0 + $1.count }
    return letters == 0 ? 3 : max(1, letters / 3)
}

/// The fewest insertions, deletions, substitutions and swaps of neighbours that make one word of the other.
///
/// Optimal string alignment: a swap (`rnu` for `run`), the commonest slip of fast fingers, counts one, and nothing is edited twice.
package func editDistance(_ left: String, _ right: String) -> Int {
    let (left, right) = (Array(left.utf8), Array(right.utf8))
    var beforeLast = [Int](repeating: 0, count: right.count + 1)
    var last = Array(0...right.count)
    for i in left.indices {
        var row = [i + 1]
        row.reserveCapacity(right.count + 1)
        for j in right.indices {
            var distance = Swift.min(last[j] + (left[i] == right[j] ? 0 : 1), last[j + 1] + 1, row[j] + 1)
            if i > 0, j > 0, left[i] == right[j - 1], left[i - 1] == right[j] { distance = Swift.min(distance, beforeLast[j - 1] + 1) }
            row.append(distance)
        }
        (beforeLast, last) = (last, row)
    }
    return last[right.count]
}
