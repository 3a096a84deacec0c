internal import LunetteLinux
internal import LunetteSpec
internal import Synchronization

/// Speaks to one endpoint about one repository: OCI distribution 1.1 and Docker registry v2. Blocks; any thread may call.
///
///     request ─► 401 + challenge ─► token (or basic) ─► request ─► 3xx ─► the other host, without our authorisation
///             └► 429, 5xx, broken connection: again after a pause, up to 5 times
final class RegistryClient: Sendable {
    let endpoint: Endpoint
    let repository: String
    private let http: HTTPClient
    /// `user:password`.
    private let credentials: String?
    private let actions: String
    private let cancel: CancelFlag?
    private let authorization = Mutex<(header: String, expires: Double)?>(nil)

    static let maximumTries = 5
    private static let maximumRedirects = 8
    private static let longestPause = 30.0

    /// - Parameter actions: `pull`, or `pull,push`.
    init(_ endpoint: Endpoint, repository: String, http: HTTPClient, credentials: String?, actions: String, cancel: CancelFlag?) {
        self.endpoint = endpoint
        self.repository = repository
        self.http = http
        self.credentials = credentials
        self.actions = actions
        self.cancel = cancel
    }

    func url(_ path: String) -> String {
        let url = "\(endpoint.base)/v2/\(repository)/\(path)"
        return endpoint.namespace.map { Location.adding("ns", $0, to: url) } ?? url
    }

    // MARK: requests

    /// Sends a request with authorisation, redirects and tries; gives any response but 401, 429 and 5xx that last.
    func send(
        _ method: String, _ url: String, headers: [(name: String, value: String)] = [], body: HTTPRequest.Body? = nil, what: String,
        tries: Int = maximumTries, head: ((HTTPResponse) throws(LunetteError) -> Void)? = nil,
        sink: ((UnsafeRawBufferPointer) throws(LunetteError) -> Void)? = nil, sent: ((Int64) -> Void)? = nil
    ) throws(LunetteError) -> HTTPResponse {
        var attempt = 0
        var answeredChallenge = false
        while true {
            attempt += 1
            if cancel?.isCancelled == true { throw LunetteError(.cancelled, "\(what): cancelled") }
            let pause: Double
            do throws(HTTPFailure) {
                let response = try followingRedirects(method, url, headers, body, head, sink, sent)
                switch response.status {
                case 401 where !answeredChallenge:
                    answeredChallenge = true
                    attempt -= 1
                    let answered: Bool
                    do throws(LunetteError) { answered = try answer(response, what: what) } catch {
                        throw HTTPFailure(kind: .refused, message: error.message, cause: error)
                    }
                    if answered { continue }
                    return response
                case 408, 429, 500...599:
                    guard attempt < tries else { return response }
                    pause = Self.retryAfter(response) ?? Self.pause(after: attempt)
                default: return response
                }
            } catch {
                if let cause = error.cause { throw cause }
                // Where a body went into a sink, the sink's owner decides how to go on.
                let limit = error.kind == .unreachable ? min(tries, 2) : error.kind == .broken && sink == nil ? tries : 1
                guard attempt < limit else { throw failure(error, what) }
                pause = Self.pause(after: attempt)
            }
            try wait(pause, what)
        }
    }

    static func pause(after attempt: Int) -> Double {
        min(longestPause, 0.25 * Double(1 << min(attempt, 7))) * Double.random(in: 0.75...1.25)
    }

    private static func retryAfter(_ response: HTTPResponse) -> Double? {
        response.headers["retry-after"].flatMap { Double($0) }.flatMap { $0.isFinite ? min(max($0, 0), longestPause) : nil }
    }

    func wait(_ seconds: Double, _ what: String) throws(LunetteError) {
        let end = SystemClock.monotonic + seconds
        while true {
            if cancel?.isCancelled == true { throw LunetteError(.cancelled, "\(what): cancelled") }
            let left = end - SystemClock.monotonic
            if left <= 0 { return }
            SystemClock.block(seconds: min(left, 0.05))
        }
    }

    private func followingRedirects(
        _ method: String, _ start: String, _ headers: [(name: String, value: String)], _ body: HTTPRequest.Body?,
        _ head: ((HTTPResponse) throws(LunetteError) -> Void)?, _ sink: ((UnsafeRawBufferPointer) throws(LunetteError) -> Void)?,
        _ sent: ((Int64) -> Void)?
    ) throws(HTTPFailure) -> HTTPResponse {
        var url = start
        for _ in 0...Self.maximumRedirects {
            var request = HTTPRequest(method: method, url: url, headers: headers, body: body)
            // Authorisation is for the registry: a storage host that it sends us to must not see it.
            if Location.origin(url) == Location.origin(endpoint.base) {
                if let header = currentAuthorization() { request.headers.append(("Authorization", header)) }
                request.caFile = endpoint.caFile
            }
            request.skipsVerification = endpoint.skipsVerification
            let response = try http.perform(
                request, limit: Int(ContentStore.documentLimit), cancel: cancel, head: head, sink: sink, sent: sent)
            guard [301, 302, 303, 307, 308].contains(response.status), let location = response.headers["location"],
                method == "GET" || method == "HEAD"
            else { return response }
            let next = Location.resolve(location, against: url)
            guard next.hasPrefix("https://") || (next.hasPrefix("http://") && url.hasPrefix("http://")) else {
                throw HTTPFailure(kind: .refused, message: "the redirect from \(url) to \"\(displayable(next, limit: 120))\" gives up TLS")
            }
            url = next
        }
        throw HTTPFailure(kind: .refused, message: "\(start) redirects more than \(Self.maximumRedirects) times")
    }

    private func failure(_ error: HTTPFailure, _ what: String) -> LunetteError {
        let why = displayable(error.message, limit: 200)
        switch error.kind {
        case .cancelled: return LunetteError(.cancelled, "\(what): cancelled", operation: nil)
        case .unreachable:
            return LunetteError(
                .io, "\(what): can't reach \(endpoint.host): \(why)", target: endpoint.host, hint: "is the registry up and its name right?")
        case .broken:
            return LunetteError(
                .io, "\(what): the connection to \(endpoint.host) broke: \(why)", target: endpoint.host,
                hint: endpoint.usesTLS
                    ? "try again; a registry without TLS wants tls=false" : "try again; a registry with TLS wants tls=true")
        case .certificate:
            return LunetteError(
                .io, "\(what): TLS with \(endpoint.host): \(why)", target: endpoint.host,
                hint:
                    "put the registry's CA into certs.d/\(endpoint.host)/ca.crt of the configuration folder, or use tls=false for plain HTTP"
            )
        case .refused: return LunetteError(.io, "\(what): \(why)", target: endpoint.host)
        }
    }

    // MARK: authorisation

    private func currentAuthorization() -> String? {
        authorization.withLock { $0 }.flatMap { $0.expires > SystemClock.monotonic ? $0.header : nil }
    }

    /// - Returns: false when there is nothing to answer with.
    private func answer(_ response: HTTPResponse, what: String) throws(LunetteError) -> Bool {
        guard let challenge = Challenge.parse(response.headers["www-authenticate"] ?? "") else { return false }
        switch challenge {
        case .basic:
            guard let credentials else { return false }
            authorization.withLock { $0 = ("Basic " + Base64.encode(credentials), .infinity) }
            return true
        case .bearer(let realm, let service, let scope):
            let (token, lifetime) = try token(realm: realm, service: service, scope: scope, what: what)
            authorization.withLock { $0 = ("Bearer " + token, SystemClock.monotonic + max(10, lifetime - 10)) }
            return true
        }
    }

    private func token(realm: String, service: String?, scope: String?, what: String) throws(LunetteError) -> (String, Double) {
        var url = realm
        if let service { url = Location.adding("service", service, to: url) }
        url = Location.adding("scope", scope ?? "repository:\(repository):\(actions)", to: url)
        var request = HTTPRequest(url: url)
        // A token service that isn't TLS gets no password, unless the registry itself is plain.
        guard credentials == nil || url.hasPrefix("https://") || !endpoint.usesTLS else {
            throw LunetteError(
                .denied, "\(what): \(endpoint.host) wants the password sent unencrypted to \(displayable(realm, limit: 120))")
        }
        request.basic = credentials
        if Location.origin(url) == Location.origin(endpoint.base) { request.caFile = endpoint.caFile }
        request.skipsVerification = endpoint.skipsVerification
        let response: HTTPResponse
        do throws(HTTPFailure) { response = try http.perform(request, limit: 1 << 20, cancel: cancel) } catch {
            throw error.cause ?? failure(error, what)
        }
        guard response.status == 200 else {
            if response.status == 401 || response.status == 403 { throw unauthenticated(response, what) }
            throw LunetteError(.io, "\(what): the token service of \(endpoint.host) answered \(response.status)", target: endpoint.host)
        }
        let value = try JSON.decode(response.body, source: "the token service of \(endpoint.host)")
        guard let token = value["token"]?.stringValue ?? value["access_token"]?.stringValue,
            token.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f })
        else {
            throw LunetteError(.io, "\(what): the token service of \(endpoint.host) gave no token", target: endpoint.host)
        }
        return (token, value["expires_in"]?.doubleValue ?? 60)
    }

    func unauthenticated(_ response: HTTPResponse, _ what: String) -> LunetteError {
        LunetteError(
            .unauthenticated,
            credentials == nil
                ? "\(what): \(endpoint.host) wants a name and password (or has no such repository)\(Self.words(response))"
                : "\(what): \(endpoint.host) refuses the name and password\(Self.words(response))",
            target: endpoint.host, hint: "give username and password, or put them into auth.json of the configuration folder")
    }

    // MARK: answers

    /// What the registry said, as `: CODE: message`; empty when it said nothing readable.
    static func words(_ response: HTTPResponse) -> String {
        guard let value = try? JSON.decode(response.body, source: "registry"), let first = value["errors"]?.arrayValue?.first else {
            return ""
        }
        let parts = [first["code"]?.stringValue, first["message"]?.stringValue].compactMap { $0 }
        return parts.isEmpty ? "" : ": " + displayable(parts.joined(separator: ": "), limit: 200)
    }

    /// The error for a response that isn't what was hoped for.
    func unexpected(_ response: HTTPResponse, _ what: String, missing: String) -> LunetteError {
        let words = Self.words(response)
        switch response.status {
        case 401: return unauthenticated(response, what)
        case 403: return LunetteError(.denied, "\(what): \(endpoint.host) doesn't allow it\(words)", target: endpoint.host)
        case 404: return LunetteError(.notFound, "\(what): \(endpoint.host) has no \(missing)\(words)", target: missing)
        case 429:
            return LunetteError(
                .resourceExhausted, "\(what): \(endpoint.host) says there were too many requests\(words)", target: endpoint.host,
                hint: "wait, log in, or configure a mirror")
        default:
            let isTLS = response.status == 400 && String(decoding: response.body, as: UTF8.self).contains("HTTP request to an HTTPS server")
            return LunetteError(
                .io, "\(what): \(endpoint.host) answered \(response.status)\(words)", target: endpoint.host,
                hint: isTLS ? "it speaks TLS: use tls=true (--tls=true), or put its CA into certs.d" : nil)
        }
    }
}
