/// Makes up names for containers that were given none: an adjective and something of the night sky.
enum NameGenerator {
    static let adjectives = [
        "able", "amber", "ancient", "bold", "brave", "bright", "brisk", "calm", "clear", "clever", "cosmic", "crisp", "curious", "daring",
        "deep",
        "distant", "eager", "early", "fair", "faint", "fast", "fine", "frosty", "gentle", "glad", "golden", "grand", "hidden", "humble",
        "icy", "keen",
        "kind", "late", "lively", "lone", "lucid", "merry", "mild", "misty", "modest", "noble", "nimble", "pale", "patient", "placid",
        "proud", "pure",
        "quick", "quiet", "rapid", "ready", "rising", "rosy", "royal", "serene", "sharp", "shy", "silent", "silver", "slow", "smooth",
        "snowy", "solar",
        "solid", "steady", "still", "sunny", "swift", "tall", "tender", "tidy", "tranquil", "true", "vast", "vivid", "warm", "wise",
        "witty", "young", "zesty",
    ]
    static let nouns = [
        "altair", "andromeda", "antares", "aquila", "ariel", "aurora", "bellatrix", "callisto", "capella", "carina", "cassini", "castor",
        "ceres", "comet",
        "corona", "crater", "cygnus", "deneb", "dione", "dorado", "draco", "eclipse", "electra", "enceladus", "equinox", "eris", "europa",
        "fornax",
        "galaxy", "ganymede", "gemini", "halley", "halo", "helios", "hydra", "iapetus", "io", "juno", "jupiter", "lacerta", "leo", "libra",
        "luna", "lynx",
        "lyra", "mars", "meteor", "mimas", "mira", "moon", "nebula", "neptune", "norma", "nova", "oberon", "orbit", "orion", "pallas",
        "pavo", "perseus",
        "phoebe", "phoenix", "pluto", "polaris", "pollux", "pulsar", "quasar", "regulus", "rhea", "rigel", "saturn", "sirius", "solstice",
        "spica", "star",
        "taurus", "tethys", "titan", "triton", "umbra", "uranus", "vega", "vela", "venus", "vesta", "virgo", "zenith",
    ]

    /// - Parameter isFree: whether a name can be taken.
    static func next(isFree: (String) -> Bool) -> String {
        for _ in 0..<20 {
            let name = "\(adjectives.randomElement()!)_\(nouns.randomElement()!)"
            if isFree(name) { return name }
        }
        var number = 2
        while true {
            let name = "\(adjectives.randomElement()!)_\(nouns.randomElement()!)\(number)"
            if isFree(name) { return name }
            number += 1
        }
    }
}
