import Foundation
import Glibc
import LunetteTesting
import Testing

/// What scripts store, in a real engine that is killed meanwhile.
@Suite(.requires(.root, .overlay, .userNamespaces))
struct StoreTests {
    @Test func whatIsStoredOutlivesAKilledEngine() async throws {
        try await withLunette { home in
            let script = "\(home.folder)/count.lua"
            try Data("local lunette = require 'lunette' print(lunette.store.update('n', function(n) return (n or 0) + 1 end))".utf8)
                .write(to: URL(fileURLWithPath: script))
            for round in 1...3 {
                #expect(try await home.command([script]).run().text == "\(round)")
                for process in home.processes() where process.command.contains(" daemon") { kill(pid_t(process.pid), SIGKILL) }
            }
            // Each script has its own, and what is typed another.
            #expect(try await home.command(["-e", "return store.get 'n'"]).run().text == "nil")
            // Four at once, and none of their steps is lost.
            let source =
                "task.all((function() local t = {} for i = 1, 25 do t[i] = function() "
                + "store.open('shared'):update('n', function(n) return (n or 0) + 1 end) end end return t end)())"
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<4 { group.addTask { try await home.command(["-e", source]).run() } }
                try await group.waitForAll()
            }
            #expect(try await home.command(["-e", "return store.open('shared'):get 'n'"]).run().text == "100")
        }
    }
}
