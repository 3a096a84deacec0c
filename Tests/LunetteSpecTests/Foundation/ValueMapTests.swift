import LunetteSpec
import Testing

@Suite("Maps of values")
struct ValueMapTests {
    /// Small ones are searched, long ones have an index: both must do the same.
    @Test(arguments: [3, 16, 17, 18, 400])
    func keysKeepTheirOrderAndTheirValues(count: Int) {
        var map = ValueMap()
        for number in 0..<count { map["key \(number)"] = .int(Int64(number)) }
        #expect(map.count == count)
        #expect(map.keys == (0..<count).map { "key \($0)" })
        #expect((0..<count).allSatisfy { map["key \($0)"] == .int(Int64($0)) })
        #expect(map["key \(count)"] == nil)

        map["key 1"] = "other"
        #expect(map.count == count)
        #expect(map.map(\.value)[1] == "other")
        map["key 0"] = Optional.none
        map["no such"] = Optional.none
        #expect(map.keys == (1..<count).map { "key \($0)" })
        #expect(map["key 0"] == nil)
        #expect(map["key \(count - 1)"] == .int(Int64(count - 1)))
        map["key 0"] = 0
        #expect(map.keys.last == "key 0")
    }

    @Test(arguments: [4, 40])
    func orderDoesNotMatterToEquality(count: Int) {
        var forward = ValueMap()
        var backward = ValueMap()
        for number in 0..<count { forward["\(number)"] = .int(Int64(number)) }
        for number in (0..<count).reversed() { backward["\(number)"] = .int(Int64(number)) }
        #expect(forward == backward)
        #expect(forward.hashValue == backward.hashValue)
        backward["0"] = 1
        #expect(forward != backward)
        backward["0"] = Optional.none
        #expect(forward != backward)
        backward["other"] = 0
        #expect(forward != backward)
    }

    /// To Swift they are one text, to the kernel and to every other program two.
    @Test func twoSpellingsOfOneLetterAreTwoKeys() {
        let map: ValueMap = ["caf\u{e9}": 1, "cafe\u{301}": 2]
        #expect(map.count == 2)
        #expect(map["caf\u{e9}"] == 1)
        #expect(map["cafe\u{301}"] == 2)
        var long = map
        for number in 0..<40 { long["\(number)"] = .int(Int64(number)) }
        #expect(long.count == 42)
        #expect(long["cafe\u{301}"] == 2)
    }
}
