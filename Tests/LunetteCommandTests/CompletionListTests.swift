import LunetteLua
import Testing

@testable import lunette

@Suite struct CompletionListTests {
    private func candidates(_ count: Int, detail: String = "") -> [REPL.Completion] {
        (1...count).map { REPL.Completion(text: "x.name\($0)", detail: detail) }
    }

    @Test func detailsStandBesideNamesAndAreCutAtTheEdge() {
        let list = CompletionList.text(
            [.init(text: ".memory", detail: "number|string?  memory it may use"), .init(text: ".pids", detail: "integer?")],
            size: TerminalSize(rows: 24, columns: 30))
        #expect(list == "memory  number|string?  memo…\npids    integer?")
    }

    @Test func aLongTypePushesNoDescriptionAside() {
        let list = CompletionList.text(
            [
                .init(text: "restart", detail: "\"never\"|\"on_failure\"|\"always\"|Restart?  when it is started again"),
                .init(text: "rootfs", detail: "string?  a folder as its root"), .init(text: "rows", detail: "how many"),
            ], size: TerminalSize(rows: 24, columns: 80))
        #expect(
            list == """
                restart  "never"|"on_failure"|"alw…  when it is started again
                rootfs   string?                     a folder as its root
                rows                                 how many
                """, "\(list)")
    }

    @Test func namesStandInColumnsAndWhatDoesNotFitIsCounted() {
        #expect(CompletionList.text(candidates(3), size: nil) == "name1  name2  name3  ")
        let many = CompletionList.text(candidates(100), size: TerminalSize(rows: 10, columns: 24)).split(separator: "\n")
        #expect(many.count == 6 && many[0] == "name1    name6    " && many[5] == "… 90 more; type on", "\(many)")
        // Too many for a line each: names alone.
        #expect(!CompletionList.text(candidates(30, detail: "d"), size: TerminalSize(rows: 10, columns: 80)).contains("d "))
    }

    @Test func aNameIsShownWholeThoughOnlyItsEndIsCompleted() {
        let list = CompletionList.text(
            [.init(text: "one", shown: "web-one"), .init(text: "two\u{1b}", shown: "web-two\u{1b}")], size: nil)
        #expect(list.hasPrefix("web-one") && list.contains("web-two") && !list.contains("\u{1b}"))
    }
}
