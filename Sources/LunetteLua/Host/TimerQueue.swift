/// What is due when: the earliest first, of equal times the one that was added first.
///
/// A binary heap. What is removed before its time stays in it, marked, until it comes up or is half of what there is.
struct TimerQueue {
    private struct Entry {
        let due: Double
        let token: Int64

        func isBefore(_ other: Entry) -> Bool { due < other.due || due == other.due && token < other.token }
    }

    private var heap: [Entry] = []
    private var removed: Set<Int64> = []
    private var waiting: Set<Int64> = []

    var count: Int { waiting.count }

    /// When the first is due; nil when none is.
    var nextDue: Double? { heap.first?.due }

    /// - Parameters:
    ///   - due: monotonic seconds.
    ///   - token: greater than every one added before.
    mutating func add(_ token: Int64, due: Double) {
        waiting.insert(token)
        heap.append(Entry(due: due, token: token))
        var index = heap.count - 1
        while index > 0 {
            let parent = (index - 1) / 2
            guard heap[index].isBefore(heap[parent]) else { break }
            heap.swapAt(index, parent)
            index = parent
        }
    }

    /// Takes one out before its time; others than those that wait are nothing to it.
    mutating func remove(_ token: Int64) {
        guard waiting.remove(token) != nil else { return }
        removed.insert(token)
        if removed.count > 64, removed.count > heap.count / 2 {
            heap.removeAll { removed.contains($0.token) }
            removed = []
            for index in stride(from: heap.count / 2 - 1, through: 0, by: -1) { sink(index) }
        }
        dropRemoved()
    }

    /// Takes the first one out.
    mutating func takeFirst() -> Int64? {
        guard let token = takeRoot() else { return nil }
        waiting.remove(token)
        dropRemoved()
        return token
    }

    private mutating func dropRemoved() {
        while let first = heap.first, removed.contains(first.token) {
            removed.remove(first.token)
            _ = takeRoot()
        }
    }

    private mutating func takeRoot() -> Int64? {
        guard let first = heap.first else { return nil }
        let last = heap.removeLast()
        if !heap.isEmpty {
            heap[0] = last
            sink(0)
        }
        return first.token
    }

    private mutating func sink(_ start: Int) {
        var index = start
        while true {
            var least = index
            let left = 2 * index + 1
            if left < heap.count, heap[left].isBefore(heap[least]) { least = left }
            if left + 1 < heap.count, heap[left + 1].isBefore(heap[least]) { least = left + 1 }
            if least == index { return }
            heap.swapAt(index, least)
            index = least
        }
    }
}
