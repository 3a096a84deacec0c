internal import CCurl
internal import Glibc
internal import LunetteAPI
internal import LunetteSpec
internal import Synchronization

extension LuaHost {
    /// `http.get` and `http.request`: from this process, by libcurl, on a thread of its own.
    func requestHTTP(_ operation: String, _ given: Value) throws(LunetteError) -> LuaState.Answer {
        let (function, arguments) = try clientCall(operation, given)
        if let standIn = dryRun?.answer(function, arguments) { return .results([standIn]) }
        let call = try HTTPCall(operation, arguments)
        let hold = try holdCall()
        let token = newToken()
        let mailbox = mailbox
        inFlight[token] = call
        onOwnThread {
            let result = call.perform()
            mailbox.post { host in
                guard withExtendedLifetime(hold, { host.inFlight.removeValue(forKey: token) }) != nil else { return }
                host.deliver(token, result.map { .array([$0]) })
            }
        }
        return .await(token)
    }
}

/// One request of a script. Whatever the server says is a result; only no answer, or one that is too long or late, is an error.
private final class HTTPCall: Cancellable, Sendable {
    static let headerLimit = 256 << 10

    let operation: String
    let method: String
    let url: String
    private let headers: [String]
    let body: [UInt8]?
    private let timeout: Double
    let limit: Int
    private let redirects: Int
    private let credentials: String?
    private let caFile: String?
    private let isVerified: Bool

    private struct State {
        /// libcurl's handle, by address, while it works.
        var handle: UInt = 0
        var isCancelled = false
    }
    private let state = Mutex(State())

    init(_ operation: String, _ arguments: Value) throws(LunetteError) {
        self.operation = operation
        var reader = try FieldReader(arguments)
        url = try reader.required("url")
        let method = try reader.string("method") ?? "GET"
        guard !method.isEmpty, method.utf8.allSatisfy({ (0x41...0x5a).contains($0) || $0 == 0x2d }) else {
            throw reader.failure("method", "\"\(displayable(method, limit: 40))\" is no method", hint: "in capitals: GET, POST, PUT …")
        }
        self.method = method
        let scheme = url.prefix { $0 != ":" }.lowercased()
        guard ["http", "https"].contains(scheme), url.utf8.allSatisfy({ $0 > 0x20 && $0 != 0x7f }) else {
            throw reader.failure("url", "\"\(displayable(url, limit: 200))\" is not an http: or https: address")
        }
        var lines: [String] = []
        for (name, value) in try reader.stringMap("headers") ?? [] {
            let line = "\(name): \(value)"
            // A line of its own would be another header, or the body.
            guard !name.isEmpty, !name.utf8.contains(0x3a), line.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7f || $0 == 0x09 }) else {
                throw reader.failure("headers.\(displayable(name, limit: 80))", "is no header")
            }
            lines.append(line)
        }
        headers = lines
        body = reader.value("body")?.byteString
        timeout = try reader.seconds("timeout") ?? 60
        limit = Int(try reader.size("max_size") ?? 16 << 20)
        redirects = Int(try reader.int("redirects") ?? 10)
        guard (0...50).contains(redirects) else { throw reader.failure("redirects", "must be 0 to 50") }
        let user = try reader.string("username")
        let password = try reader.string("password")
        credentials = user.map { "\($0):\(password ?? "")" }
        caFile = try reader.string("ca_file")
        isVerified = try reader.bool("verify") ?? true
        try reader.finish()
    }

    func cancel() {
        state.withLock { state in
            state.isCancelled = true
            if state.handle != 0 { lnt_curl_abort(OpaquePointer(bitPattern: state.handle)) }
        }
    }

    /// Blocks until the answer is whole.
    func perform() -> Result<Value, LunetteError> {
        guard lnt_curl_load() == 0 else {
            return .failure(
                LunetteError(.unsupported, "load libcurl: \(String(cString: lnt_curl_load_error()))", hint: "install libcurl4"))
        }
        guard let handle = lnt_curl_new() else { return .failure(LunetteError(.resourceExhausted, "\(operation): out of memory")) }
        let isCancelled = state.withLock { state in
            state.handle = UInt(bitPattern: handle)
            return state.isCancelled
        }
        let exchange = HTTPExchange(self)
        var response = lnt_curl_response()
        if !isCancelled { exchange.run(on: handle, &response, headers, credentials, caFile, isVerified, timeout, redirects) }
        state.withLock { $0.handle = 0 }
        lnt_curl_free(handle)
        do throws(LunetteError) { return .success(try exchange.result(response, after: timeout)) } catch { return .failure(error) }
    }
}

/// What comes in one request; only the performing thread touches it.
private final class HTTPExchange {
    private let call: HTTPCall
    private var status = 0
    private var headers: ValueMap = [:]
    private var headerBytes = 0
    private var body: [UInt8] = []
    private var offset = 0
    private var failure: LunetteError?

    init(_ call: HTTPCall) { self.call = call }

    private static func of(_ context: UnsafeMutableRawPointer?) -> HTTPExchange {
        Unmanaged<HTTPExchange>.fromOpaque(context!).takeUnretainedValue()
    }

    func run(
        on handle: OpaquePointer, _ response: inout lnt_curl_response, _ headers: [String], _ credentials: String?, _ caFile: String?,
        _ isVerified: Bool, _ timeout: Double, _ redirects: Int
    ) {
        // Strings live as long as the request.
        var owned: [UnsafeMutablePointer<CChar>?] = []
        func keep(_ text: String?) -> UnsafePointer<CChar>? {
            guard let text else { return nil }
            owned.append(strdup(text))
            return UnsafePointer(owned.last!)
        }
        var lines = headers.map { keep($0) } + [nil]
        var raw = lnt_curl_request()
        raw.method = keep(call.method)
        raw.url = keep(call.url)
        raw.user_password = keep(credentials)
        raw.ca_file = keep(caFile)
        raw.skip_verification = isVerified ? 0 : 1
        raw.body_size = call.body.map { Int64($0.count) } ?? -1
        raw.connect_timeout = max(1, min(Int(min(timeout, 1e6).rounded(.up)), 15))
        raw.stall_timeout = 45
        raw.milliseconds = Int(max(1, min(timeout * 1000, 1e12)))
        raw.redirects = redirects
        raw.on_header = { context, data, size in HTTPExchange.of(context).header(data!, size) }
        raw.on_body = { context, data, size in HTTPExchange.of(context).received(data!, size) }
        raw.body = { context, data, size in HTTPExchange.of(context).give(data!, size) }
        raw.rewind = { context in
            HTTPExchange.of(context).offset = 0
            return 0
        }
        raw.context = Unmanaged.passUnretained(self).toOpaque()
        lines.withUnsafeMutableBufferPointer { lines in
            raw.headers = UnsafePointer(lines.baseAddress!)
            lnt_curl_perform(handle, &raw, &response)
        }
        for text in owned { free(text) }
    }

    private func header(_ data: UnsafePointer<CChar>, _ size: Int) -> Int32 {
        headerBytes += size
        guard headerBytes <= HTTPCall.headerLimit else {
            failure = LunetteError(
                .resourceExhausted, "\(call.operation): \(shownURL) answered with more than \(HTTPCall.headerLimit) bytes of headers")
            return 1
        }
        let bytes = UnsafeRawBufferPointer(start: data, count: size)
        if bytes.starts(with: Array("HTTP/".utf8)) {
            // A redirect's answer is followed by another: the last is the one that counts.
            headers = [:]
            body = []
            return 0
        }
        guard let colon = bytes.firstIndex(of: UInt8(ascii: ":")) else { return 0 }
        let name = String(decoding: bytes[..<colon], as: UTF8.self).lowercased()
        var value = bytes[(colon + 1)...]
        while let first = value.first, first <= 0x20 { value = value.dropFirst() }
        while let last = value.last, last <= 0x20 { value = value.dropLast() }
        let text = headers[name]?.byteString.map { $0 + Array(", ".utf8) + Array(value) } ?? Array(value)
        headers[name] = .text(text)
        return 0
    }

    private func received(_ data: UnsafePointer<CChar>, _ size: Int) -> Int32 {
        guard body.count + size <= call.limit else {
            failure = LunetteError(
                .resourceExhausted, "\(call.operation): \(shownURL) answered with more than \(call.limit) bytes",
                operation: call.operation, hint: "max_size allows more")
            return 1
        }
        body.append(contentsOf: UnsafeRawBufferPointer(start: data, count: size))
        return 0
    }

    private func give(_ data: UnsafeMutablePointer<CChar>, _ size: Int) -> Int {
        guard let bytes = call.body else { return 0 }
        let count = min(size, bytes.count - offset)
        guard count > 0 else { return 0 }
        bytes.withUnsafeBytes { UnsafeMutableRawPointer(data).copyMemory(from: $0.baseAddress! + offset, byteCount: count) }
        offset += count
        return count
    }

    /// Without a password that stands in it.
    private var shownURL: String {
        let scheme = call.url.prefix { $0 != "/" }
        let rest = call.url.dropFirst(scheme.count + 2)
        guard let at = rest.prefix(while: { $0 != "/" }).lastIndex(of: "@") else { return displayable(call.url, limit: 200) }
        return displayable(scheme + "//" + rest[rest.index(after: at)...], limit: 200)
    }

    func result(_ response: lnt_curl_response, after timeout: Double) throws(LunetteError) -> Value {
        if let failure { throw failure }
        var response = response
        let message = withUnsafeBytes(of: &response.error) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        let what = "\(call.operation): \(call.method) \(shownURL)"
        switch response.outcome {
        case LNT_CURL_OK:
            return ["status": .int(Int64(response.status)), "headers": .map(headers), "body": .text(body)]
        case LNT_CURL_TIMED_OUT:
            throw LunetteError(.timeout, "\(what): no answer within \(timeout) s", operation: call.operation)
        case LNT_CURL_ABORTED: throw LunetteError(.cancelled, "\(what): cancelled", operation: call.operation)
        case LNT_CURL_CERTIFICATE:
            throw LunetteError(
                .denied, "\(what): \(message)", operation: call.operation, hint: "ca_file names a certificate authority of your own")
        default: throw LunetteError(.io, "\(what): \(message)", operation: call.operation)
        }
    }
}
