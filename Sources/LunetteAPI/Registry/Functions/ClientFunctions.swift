import LunetteSpec

/// Functions that the Lua host does itself.
enum ClientFunctions {
    static let all: [APIFunction] = []
}
