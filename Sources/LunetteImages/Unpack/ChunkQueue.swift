internal import Glibc

/// Passes big buffers from one thread to the next, a few at a time; the slower side sets the pace.
///
/// One producer and one consumer. Either may end it: the producer with an error or the end, the consumer by `stop()`.
final class ChunkQueue<Failure: Error & Sendable>: @unchecked Sendable {
    // SAFETY: everything below is only touched between lock and unlock of `mutex`; buffers belong to the side that took them.
    struct Chunk {
        let memory: UnsafeMutableRawPointer
        var count: Int
    }

    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let changed = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var free: [Chunk] = []
    private var filled: [Chunk] = []
    private var end: Result<Void, Failure>?
    private var isStopped = false
    private let all: [UnsafeMutableRawPointer]
    let capacity: Int

    init(chunks: Int, capacity: Int) {
        self.capacity = capacity
        all = (0..<chunks).map { _ in UnsafeMutableRawPointer.allocate(byteCount: capacity, alignment: 4096) }
        free = all.map { Chunk(memory: $0, count: 0) }
        pthread_mutex_init(mutex, nil)
        pthread_cond_init(changed, nil)
    }

    deinit {
        for memory in all { memory.deallocate() }
        pthread_cond_destroy(changed)
        pthread_mutex_destroy(mutex)
        changed.deallocate()
        mutex.deallocate()
    }

    private func locked<T>(_ body: () -> T) -> T {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return body()
    }

    /// An empty buffer for the producer; nil when the consumer stopped.
    func empty() -> Chunk? {
        locked {
            while free.isEmpty && !isStopped { pthread_cond_wait(changed, mutex) }
            return isStopped ? nil : free.removeLast()
        }
    }

    func push(_ chunk: Chunk) {
        locked {
            filled.append(chunk)
            pthread_cond_broadcast(changed)
        }
    }

    func finish(_ result: Result<Void, Failure>) {
        locked {
            if end == nil { end = result }
            pthread_cond_broadcast(changed)
        }
    }

    /// The next full buffer for the consumer; nil at the end.
    func next() throws(Failure) -> Chunk? {
        let result: Result<Chunk?, Failure> = locked {
            while filled.isEmpty && end == nil { pthread_cond_wait(changed, mutex) }
            if !filled.isEmpty { return .success(filled.removeFirst()) }
            if case .failure(let error) = end! { return .failure(error) }
            return .success(nil)
        }
        return try result.get()
    }

    /// Gives a buffer back.
    func recycle(_ chunk: Chunk) {
        locked {
            free.append(Chunk(memory: chunk.memory, count: 0))
            pthread_cond_broadcast(changed)
        }
    }

    /// Tells the producer that nobody reads on.
    func stop() {
        locked {
            isStopped = true
            pthread_cond_broadcast(changed)
        }
    }
}
