extension RuntimeSpec.ProcessSection {
    /// Reads a process section that stands alone, as `exec --process` gets it.
    /// - Parameter inventory: is told of every field, so that what is ignored can be named.
    /// - Throws: `invalid_argument` with the field's path.
    package init(_ value: Value, inventory: FieldInventory? = nil) throws(LunetteError) {
        var reader = try FieldReader(value, path: "process", notation: .json, inventory: inventory)
        try self.init(reading: &reader)
    }
}
