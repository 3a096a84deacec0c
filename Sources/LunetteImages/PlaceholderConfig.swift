package import LunetteSpec

/// Stands in until LunetteSpec has it.
package struct ImageConfig: Sendable, Hashable {
    package var value: Value { .map([:]) }
}
