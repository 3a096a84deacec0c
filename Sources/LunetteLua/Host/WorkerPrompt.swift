internal import LunetteAPI
internal import LunetteSpec

/// A prompt in a worker's state.
struct WorkerPrompt {
    let worker: StateWorker

    func answer(
        _ question: ValueMap, onOutput: @escaping @Sendable (Value) async throws(LunetteError) -> Void
    ) async throws(LunetteError) -> Value {
        // The state's thread never waits for a slow terminal; what one chunk may print is bounded there.
        let (texts, feed) = AsyncStream.makeStream(of: Value.self)
        async let written: LunetteError? = Self.write(texts, onOutput)
        let result: Result<Value, LunetteError>
        do throws(LunetteError) {
            result = .success(try await worker.call("prompt_ask", question) { feed.yield($0) })
        } catch {
            result = .failure(error)
        }
        feed.finish()
        let failure = await written
        let value = try result.get()
        if let failure { throw failure }
        return value
    }

    private static func write(
        _ texts: AsyncStream<Value>, _ onOutput: @Sendable (Value) async throws(LunetteError) -> Void
    ) async -> LunetteError? {
        for await text in texts {
            do throws(LunetteError) { try await onOutput(text) } catch { return error }
        }
        return nil
    }

    func complete(_ question: ValueMap) async throws(LunetteError) -> Value { try await worker.call("prompt_complete", question) }
}
