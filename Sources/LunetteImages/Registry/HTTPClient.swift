internal import CCurl
internal import Glibc
internal import LunetteSpec
internal import Synchronization

/// One HTTP request, without anything decided about redirects or authorisation.
struct HTTPRequest: Sendable {
    enum Body: Sendable {
        case bytes([UInt8])
        /// `size` bytes of an open file from its start.
        case file(fd: Int32, size: Int64)
    }

    var method = "GET"
    var url: String
    var headers: [(name: String, value: String)] = []
    /// `user:password`.
    var basic: String?
    var body: Body?
    /// Certificates are checked with this file instead of the system's.
    var caFile: String?
    var skipsVerification = false
    /// No proxy, whatever the environment says.
    var isDirect: Bool {
        let authority = Location.origin(url).pathParts.last.map(String.init) ?? ""
        return Endpoint.isLoopback(authority)
    }
}

struct HTTPResponse: Sendable {
    var status = 0
    /// Names in lower case; the last of a repeated one, but all of `www-authenticate`, by newline.
    var headers: [String: String] = [:]
    /// What a failure said, or a document; never a blob.
    var body: [UInt8] = []
}

/// Why there was no response.
struct HTTPFailure: Error {
    enum Kind { case cancelled, unreachable, broken, certificate, refused }
    var kind: Kind
    var message: String
    /// What a sink threw: it goes before everything else.
    var cause: LunetteError?
}

/// Performs requests with libcurl, one thread each, on connections that are kept for the next one.
final class HTTPClient: Sendable {
    /// Addresses of handles that nobody uses; a borrower has one to itself.
    private let idle = Mutex<[UInt]>([])

    private static let headerLimit = 256 << 10
    private static let connectTimeout = 15
    private static let stallTimeout = 45

    init() {}

    deinit {
        let handles = idle.withLock { idle in
            defer { idle = [] }
            return idle
        }
        for handle in handles { lnt_curl_free(OpaquePointer(bitPattern: handle)) }
    }

    /// Performs a request and blocks until the response is whole.
    /// - Parameters:
    ///   - limit: more bytes of a document than this fail the request.
    ///   - sink: takes the body of a 2xx response instead of `HTTPResponse.body`; `head` is called before its first byte.
    func perform(
        _ request: HTTPRequest, limit: Int = 4 << 20, cancel: CancelFlag? = nil, head: ((HTTPResponse) throws(LunetteError) -> Void)? = nil,
        sink: ((UnsafeRawBufferPointer) throws(LunetteError) -> Void)? = nil, sent: ((Int64) -> Void)? = nil
    ) throws(HTTPFailure) -> HTTPResponse {
        guard lnt_curl_load() == 0 else {
            throw HTTPFailure(kind: .refused, message: "load libcurl: \(String(cString: lnt_curl_load_error())) (install libcurl4)")
        }
        guard let handle = borrow() else { throw HTTPFailure(kind: .refused, message: "out of memory") }
        return try withoutActuallyEscaping(head ?? { _ in }) { (head) throws(HTTPFailure) in
            let exchange = Exchange(request: request, limit: limit, head: head, sink: sink, sent: sent)
            let response = run(exchange, on: handle, cancel: cancel)
            // After an abort the handle stays aborted.
            if response.outcome == LNT_CURL_ABORTED || cancel?.isCancelled == true {
                lnt_curl_free(handle)
            } else {
                idle.withLock { $0.append(UInt(bitPattern: handle)) }
            }
            return try exchange.result(response, isCancelled: cancel?.isCancelled == true)
        }
    }

    private func borrow() -> OpaquePointer? {
        if let handle = idle.withLock({ $0.popLast() }) { return OpaquePointer(bitPattern: handle) }
        return lnt_curl_new()
    }

    private func run(_ exchange: Exchange, on handle: OpaquePointer, cancel: CancelFlag?) -> lnt_curl_response {
        let request = exchange.request
        var lines = request.headers.map { strdup("\($0.name): \($0.value)") }
        lines.append(nil)
        defer { for line in lines { free(line) } }
        var response = lnt_curl_response()
        let context = Unmanaged.passUnretained(exchange).toOpaque()
        // Strings live as long as the call.
        request.method.withCString { method in
            request.url.withCString { url in
                withOptionalCString(request.basic) { basic in
                    withOptionalCString(request.caFile) { caFile in
                        lines.withUnsafeMutableBufferPointer { lines in
                            lines.baseAddress!.withMemoryRebound(to: UnsafePointer<CChar>?.self, capacity: lines.count) { headers in
                                var raw = lnt_curl_request()
                                raw.method = method
                                raw.url = url
                                raw.headers = UnsafePointer(headers)
                                raw.user_password = basic
                                raw.ca_file = caFile
                                raw.skip_verification = request.skipsVerification ? 1 : 0
                                raw.direct = request.isDirect ? 1 : 0
                                raw.body_size = exchange.bodySize
                                raw.connect_timeout = Self.connectTimeout
                                raw.stall_timeout = Self.stallTimeout
                                raw.on_header = { context, data, size in Exchange.of(context).header(data!, size) }
                                raw.on_body = { context, data, size in Exchange.of(context).received(data!, size) }
                                raw.body = { context, data, size in Exchange.of(context).give(data!, size) }
                                raw.rewind = { context in Exchange.of(context).rewind() }
                                raw.context = context
                                let address = UInt(bitPattern: handle)
                                let work = { lnt_curl_perform(handle, &raw, &response) }
                                if let cancel {
                                    cancel.during(work) { lnt_curl_abort(OpaquePointer(bitPattern: address)) }
                                } else {
                                    work()
                                }
                            }
                        }
                    }
                }
            }
        }
        return response
    }

    static let maximumHeaderBytes = headerLimit
}

private func withOptionalCString(_ text: String?, _ body: (UnsafePointer<CChar>?) -> Void) {
    if let text { text.withCString(body) } else { body(nil) }
}

/// What happens during one request; only the performing thread touches it.
private final class Exchange {
    let request: HTTPRequest
    private let limit: Int
    private let head: (HTTPResponse) throws(LunetteError) -> Void
    private let sink: ((UnsafeRawBufferPointer) throws(LunetteError) -> Void)?
    private let sent: ((Int64) -> Void)?
    private var response = HTTPResponse()
    private var headerBytes = 0
    private var sawHead = false
    private var cause: LunetteError?
    private var offset: Int64 = 0

    init(
        request: HTTPRequest, limit: Int, head: @escaping (HTTPResponse) throws(LunetteError) -> Void,
        sink: ((UnsafeRawBufferPointer) throws(LunetteError) -> Void)?, sent: ((Int64) -> Void)?
    ) {
        self.request = request
        self.limit = limit
        self.head = head
        self.sink = sink
        self.sent = sent
    }

    static func of(_ context: UnsafeMutableRawPointer?) -> Exchange { Unmanaged<Exchange>.fromOpaque(context!).takeUnretainedValue() }

    var bodySize: Int64 {
        switch request.body {
        case nil: -1
        case .bytes(let bytes): Int64(bytes.count)
        case .file(_, let size): size
        }
    }

    func header(_ data: UnsafePointer<CChar>, _ size: Int) -> Int32 {
        headerBytes += size
        guard headerBytes <= HTTPClient.maximumHeaderBytes else {
            cause = LunetteError(.io, "\(request.url) answered with more than \(HTTPClient.maximumHeaderBytes) bytes of headers")
            return 1
        }
        let bytes = UnsafeRawBufferPointer(start: data, count: size)
        let line = String(decoding: bytes, as: UTF8.self)
        if line.hasPrefix("HTTP/") {
            let fields = line.split(separator: " ")
            response = HTTPResponse(status: fields.count > 1 ? Int(fields[1]) ?? 0 : 0)
            sawHead = false
            return 0
        }
        guard let colon = line.firstIndex(of: ":") else { return 0 }
        let name = line[..<colon].lowercased()
        let value = trimmed(line[line.index(after: colon)...])
        if name == "www-authenticate", let known = response.headers[name] {
            response.headers[name] = known + "\n" + value
        } else {
            response.headers[name] = value
        }
        return 0
    }

    func received(_ data: UnsafePointer<CChar>, _ size: Int) -> Int32 {
        let bytes = UnsafeRawBufferPointer(start: data, count: size)
        do throws(LunetteError) {
            if let sink, (200..<300).contains(response.status) {
                if !sawHead {
                    sawHead = true
                    try head(response)
                }
                try sink(bytes)
            } else {
                let isDocument = (200..<300).contains(response.status)
                guard response.body.count + size <= limit else {
                    if !isDocument { return 0 }
                    throw LunetteError(.resourceExhausted, "\(request.url) answered with more than \(limit) bytes")
                }
                response.body.append(contentsOf: bytes)
            }
            return 0
        } catch {
            cause = error
            return 1
        }
    }

    func give(_ data: UnsafeMutablePointer<CChar>, _ size: Int) -> Int {
        let count = Int(min(Int64(size), bodySize - offset))
        guard count > 0 else { return 0 }
        var given = count
        switch request.body {
        case .bytes(let bytes):
            bytes.withUnsafeBytes { UnsafeMutableRawPointer(data).copyMemory(from: $0.baseAddress! + Int(offset), byteCount: count) }
        case .file(let fd, _):
            given = pread(fd, data, count, off_t(offset))
            if given <= 0 {
                cause = LunetteError(.io, "read what is sent to \(request.url): errno \(errno)")
                return -1
            }
        case nil: return 0
        }
        offset += Int64(given)
        sent?(offset)
        return given
    }

    func rewind() -> Int32 {
        offset = 0
        return 0
    }

    func result(_ outcome: lnt_curl_response, isCancelled: Bool) throws(HTTPFailure) -> HTTPResponse {
        if let cause { throw HTTPFailure(kind: .refused, message: cause.message, cause: cause) }
        var outcome = outcome
        let message = withUnsafeBytes(of: &outcome.error) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        switch outcome.outcome {
        case LNT_CURL_OK: return response
        case LNT_CURL_ABORTED: throw HTTPFailure(kind: isCancelled ? .cancelled : .refused, message: isCancelled ? "cancelled" : message)
        case LNT_CURL_UNREACHABLE: throw HTTPFailure(kind: .unreachable, message: message)
        case LNT_CURL_BROKEN: throw HTTPFailure(kind: .broken, message: message)
        case LNT_CURL_CERTIFICATE: throw HTTPFailure(kind: .certificate, message: message)
        default: throw HTTPFailure(kind: .refused, message: message)
        }
    }
}

func trimmed(_ text: Substring) -> String {
    let isSpace: (Character) -> Bool = { $0 == " " || $0 == "\t" || $0 == "\r" || $0 == "\n" || $0 == "\r\n" }
    var rest = text.drop(while: isSpace)
    while let last = rest.last, isSpace(last) { rest.removeLast() }
    return String(rest)
}
