import LunetteSpec
import Testing

@Suite struct ReferenceTests {
    @Test(arguments: [
        ("redis", "docker.io/library/redis:latest", "redis:latest"), ("redis:7", "docker.io/library/redis:7", "redis:7"),
        ("team/app", "docker.io/team/app:latest", "team/app:latest"), ("localhost/app", "localhost/app:latest", "localhost/app:latest"),
        ("localhost:5000/a/b:1", "localhost:5000/a/b:1", "localhost:5000/a/b:1"),
        ("index.docker.io/redis", "docker.io/library/redis:latest", "redis:latest"),
        ("docker.io/redis", "docker.io/library/redis:latest", "redis:latest"),
        ("ghcr.io/a/b_c/d--e", "ghcr.io/a/b_c/d--e:latest", "ghcr.io/a/b_c/d--e:latest"),
        ("[::1]:5000/x", "[::1]:5000/x:latest", "[::1]:5000/x:latest"), ("FOO/bar", "FOO/bar:latest", "FOO/bar:latest"),
        ("127.0.0.1:80/x", "127.0.0.1:80/x:latest", "127.0.0.1:80/x:latest"),
    ])
    func namesAreNormalisedAsDockerDoes(_ text: String, _ whole: String, _ familiar: String) throws {
        let reference = try Reference(text)
        #expect(reference.description == whole)
        #expect(reference.familiar == familiar)
        #expect(try Reference(whole) == reference)
        #expect(try Reference(familiar) == reference)
    }

    @Test func aDigestNeedsNoTag() throws {
        let digest = "sha256:" + String(repeating: "a", count: 64)
        let reference = try Reference("redis@\(digest)")
        #expect(reference.tag == nil)
        #expect(reference.target == digest)
        #expect(try Reference("redis:7@\(digest)").description == "docker.io/library/redis:7@\(digest)")
    }

    @Test(arguments: [
        "", "Redis", "a//b", "/a", "a/", "a b", "a\n", "a:", "a:b:c", "a@", "a@sha256:12", "-a", "a-", "a..b", "a___b", "a._b", "../a",
        "a/../b", "a/./b", ".",
        "a:-b", "a:.b", "a@sha512:00", "ex ample.com/a", "-x.com/a", "x.com:99999/a", "x.com:/a", "[::1/a", "é", "a\u{0}",
        "redis:\u{1b}[31m",
        String(repeating: "a", count: 300), "a:" + String(repeating: "b", count: 129), String(repeating: "0", count: 64),
        "a@sha256:" + String(repeating: "A", count: 64),
    ])
    func malformedNamesAreRefused(_ text: String) {
        let error = failure { () throws(LunetteError) in _ = try Reference(text) }
        #expect(error != nil, "\(text) was taken")
        #expect(error?.message.contains("\u{1b}") != true)
    }

    @Test(arguments: [
        "", "sha256", "sha256:", "sha256:abc", "sha256:../../etc/passwd", "sha256:../../x", "md5:d41d8cd98f00b204e9800998ecf8427e",
        "SHA256:" + String(repeating: "a", count: 64),
        "sha256:" + String(repeating: "A", count: 64), "sha256:" + String(repeating: "g", count: 64),
        "sha256:" + String(repeating: "a", count: 65),
        "sha512:" + String(repeating: "a", count: 128), "sha256:sha256:" + String(repeating: "a", count: 64),
        "sha256+b64:" + String(repeating: "a", count: 64),
    ])
    func malformedDigestsAreRefused(_ text: String) {
        #expect(failure { () throws(LunetteError) in _ = try Digest(text) } != nil, "\(text)")
    }

    @Test func platformsMatchByFitness() throws {
        let arm = try Platform("linux/arm64/v8")
        #expect(arm.description == "linux/arm64")
        #expect(try arm.fitness(of: Platform("aarch64")) == 2)
        #expect(try arm.fitness(of: Platform("linux/amd64")) == nil)
        #expect(try Platform("linux/arm/v7").fitness(of: Platform("linux/arm/v6")) == nil)
        #expect(try Platform("linux/arm/v7").fitness(of: Platform("linux/arm")) == 1)
        for text in ["", "/", "linux/", "linux/amd64/x/y", "a b", "foo"] {
            #expect(failure { () throws(LunetteError) in _ = try Platform(text) } != nil)
        }
    }
}
